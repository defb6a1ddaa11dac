#!/bin/sh
# A worker: joins the head by itself, and powers itself off when it cannot or when the head is gone.
# Scratch is mounted already.  Runs at every boot and whenever a NIC is added.
set -eu
# shellcheck source=/dev/null
. /usr/libexec/vafnebula/cluster.sh

watch # first: whatever fails below, this VM does not stay for nothing
swap
packages pbs_mom torque-mom 'torque-mom torque-client openssh-clients'
join
head=$(cat "$JOINED/head")
server=$(cat "$JOINED/server_name")

home=/var/spool/torque
known "$server" "$head" # TORQUE knows machines by name only
replace $home/server_name 0644 root:root <"$JOINED/server_name" || :
if {
	echo "\$pbsserver $server"
	cat "$LIB/mom.conf"
} | replace $home/mom_priv/config 0644 root:root; then
	again pbs_mom pbs_mom
fi
chmod 1777 /scratch
daemon trqauthd trqauthd trqauthd
software "$VAF_SOFTWARE" "$head" # before jobs can come
daemon pbs_mom pbs_mom pbs_mom
ready

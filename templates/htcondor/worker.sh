#!/bin/sh
# A worker: joins the head by itself, and powers itself off when it cannot or when the head is gone.
# Scratch is mounted already.  Runs at every boot and whenever a NIC is added.
set -eu
# shellcheck source=/dev/null
. /usr/libexec/vafnebula/cluster.sh

watch # first: whatever fails below, this VM does not stay for nothing
swap
packages condor_master condor 'condor openssh-clients'
join
name=$(cat "$JOINED/name")
head=$(cat "$JOINED/head")

install -d -m 0700 /etc/condor/tokens.d
replace /etc/condor/tokens.d/vafnebula 0600 root:root <"$JOINED/token" || :
if {
	cat "$LIB/worker.conf"
	printf 'CONDOR_HOST = %s\nNETWORK_HOSTNAME = %s\n' "$head" "$name"
} | replace /etc/condor/config.d/50-vafnebula.conf 0644 root:root; then
	again condor condor_master
fi
chmod 1777 /scratch
install -d -o condor -g condor -m 0755 /scratch/condor
software "$VAF_SOFTWARE" "$head" # before jobs can come
daemon condor condor_master condor_master
ready

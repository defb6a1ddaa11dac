#!/bin/sh
# The head: HTCondor's central manager and schedd, the door through which workers join, and the software area.
# Runs at every boot and whenever a NIC is added: what is right already is left alone.
set -eu
# shellcheck source=/dev/null
. /usr/libexec/vafnebula/cluster.sh

packages condor_master condor 'condor sudo openssh-server'
swap
known "$(hostname)" "$ETH0_IP"

# The key with which tokens are signed is made here, and never leaves.
install -d -m 0700 /etc/condor/passwords.d
[ -s /etc/condor/passwords.d/POOL ] ||
	head -c 64 /dev/urandom | base64 -w 0 | replace /etc/condor/passwords.d/POOL 0600 root:root
if {
	cat "$LIB/head.conf"
	printf 'CONDOR_HOST = %s\nNETWORK_HOSTNAME = %s\n' "$ETH0_IP" "$(hostname)"
} | replace /etc/condor/config.d/50-vafnebula.conf 0644 root:root; then
	again condor condor_master
fi
daemon condor condor_master condor_master

let_in
homes
share "$VAF_SOFTWARE" "$VAF_NETWORK"

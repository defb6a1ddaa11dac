#!/bin/sh
# The head: TORQUE's server and scheduler, the door through which workers join, and the software area.
# Runs at every boot and whenever a NIC is added: what is right already is left alone.
set -eu
# shellcheck source=/dev/null
. /usr/libexec/vafnebula/cluster.sh

packages pbs_server torque-server 'torque-server torque-scheduler torque-client sudo openssh-server'
swap
known "$(hostname)" "$ETH0_IP"

home=/var/spool/torque
hostname | replace $home/server_name 0644 root:root || :
daemon trqauthd trqauthd trqauthd
if [ ! -e $home/server_priv/serverdb ]; then
	pbs_server -f -t create
	qmgr <"$LIB/server.qmgr"
fi
daemon pbs_server pbs_server pbs_server
daemon pbs_sched pbs_sched pbs_sched # a site with Maui starts that here

let_in
homes
share "$VAF_SOFTWARE" "$VAF_NETWORK"

#!/bin/sh
# The head: Slurm's controller, the door through which workers join, and the software area.
# Runs at every boot and whenever a NIC is added: what is right already is left alone.
set -eu
# shellcheck source=/dev/null
. /usr/libexec/vafnebula/cluster.sh

packages slurmctld 'slurmctld slurm-client munge sudo openssh-server' 'slurm-slurmctld slurm munge sudo openssh-server'
swap
known "$(hostname)" "$ETH0_IP"

# The cluster's own secret is made here and never leaves it but for workers that have joined.
install -d -o munge -g munge -m 0700 /etc/munge /var/lib/munge /var/log/munge
install -d -o munge -g munge -m 0755 /run/munge
[ -s /etc/munge/munge.key ] || head -c 1024 /dev/urandom | replace /etc/munge/munge.key 0400 munge:munge
daemon munge munged runuser -u munge -- munged

install -d -o slurm -g slurm -m 0755 /var/lib/slurm/slurmctld /var/log/slurm
if {
	cat "$LIB/slurm.conf"
	echo "SlurmctldHost=$(hostname)($ETH0_IP)"
} | replace /etc/slurm/slurm.conf 0644 root:root; then
	again slurmctld slurmctld
fi
daemon slurmctld slurmctld slurmctld

let_in
homes
share "$VAF_SOFTWARE" "$VAF_NETWORK"

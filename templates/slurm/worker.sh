#!/bin/sh
# A worker: joins the head by itself, and powers itself off when it cannot or when the head is gone.
# Scratch is mounted already.  Runs at every boot and whenever a NIC is added.
set -eu
# shellcheck source=/dev/null
. /usr/libexec/vafnebula/cluster.sh

watch # first: whatever fails below, this VM does not stay for nothing
swap
packages slurmd 'slurmd slurm-client munge openssh-client' 'slurm-slurmd slurm munge openssh-clients'
join
name=$(cat "$JOINED/name")
head=$(cat "$JOINED/head")

install -d -o munge -g munge -m 0700 /etc/munge /var/lib/munge /var/log/munge
install -d -o munge -g munge -m 0755 /run/munge
if replace /etc/munge/munge.key 0400 munge:munge <"$JOINED/munge.key"; then
	again munge munged # the package may have made a key of its own, and started it
fi
if replace /etc/slurm/slurm.conf 0644 root:root <"$JOINED/slurm.conf"; then
	again slurmd slurmd
fi
install -d -m 0755 /var/lib/slurm/slurmd /var/log/slurm
chmod 1777 /scratch
for file in /etc/default/slurmd /etc/sysconfig/slurmd; do # Debian's unit reads the one, EL's the other
	[ ! -d "$(dirname "$file")" ] || echo "SLURMD_OPTIONS='-Z -N $name'" | replace "$file" 0644 root:root || :
done
daemon munge munged runuser -u munge -- munged
software "$VAF_SOFTWARE" "$head" # before jobs can come
daemon slurmd slurmd slurmd -Z -N "$name"
ready

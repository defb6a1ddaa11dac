#!/bin/sh
# Runs at every boot and whenever a NIC is added: what is right already is left alone.
set -eu
echo "head of a cluster for $EXPERIMENT" >/etc/motd

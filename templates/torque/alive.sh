#!/bin/sh
# Is there a head?  Asked by the dead man's switch.
qstat -B "$(cat /var/spool/torque/server_name)" | grep -q Active

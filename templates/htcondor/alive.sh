#!/bin/sh
# Is there a head?  Asked by the dead man's switch.
condor_status -collector -limit 1 -af Name | grep -q .

#!/bin/sh
# Is there a head?  Asked by the dead man's switch.
scontrol ping | grep -q 'is UP'

"""What a node tells OpenNebula's monitoring: room in its system datastores, sizes of disks.

A probe says what it knows, or nothing; it never fails and never waits for long, because the agent throws away what
all probes beside a failing one said, and takes a host with a failing first cycle for broken.
"""

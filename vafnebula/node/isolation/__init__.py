"""Isolation: the filter around every NIC of a virtual cluster, made on the node before the tap exists.

    hook.py       pre, post, clean: what OpenNebula's network drivers call
    vmxml.py      stdin (base64 XML, hostile) -> VmXml          settings.py   [net] of the site file -> Settings
    nics.py       VmXml, Settings -> Nic: everything validated  mac.py        addresses as numbers
    plan.py       Nic -> Plan: which checks, in which order     spool.py      the NICs this node shall filter
    nft.py        Plan -> nftables program (default)            ebtables.py   Plan -> ebtables-restore program
    apply.py      program -> kernel, checked, one transaction   ports.py      tap, bridge and their flags
    reconcile.py  spool + taps -> kernel; verify, explain, counters
    record.py, spawn.py    what dataclasses and subprocess would do here, at a tenth of the start-up time

`pre` stands between a user and a booting VM and may take three times as long as the `nft -f` inside it, so the modules
on its way import nothing that costs more than a millisecond: no dataclasses, subprocess, json, re, pathlib, typing.
"""

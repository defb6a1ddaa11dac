"""prebackup: files of a VM's disks, for the backup datastore's driver to carry away."""

from __future__ import annotations

from typing import Callable

from vafnebula.model_points import PreBackup
from vafnebula.one.xml import Vm
from vafnebula.tm import backup
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> PreBackup:
    """The record comes on stdin, as it was when OpenNebula began the backup."""
    told = backup.read(call)
    return PreBackup(
        vm=call.vm,
        disk=-1,
        sds=call.sds,
        directory=call.directory,
        place=backup.place(call),
        disks=list(call.disks),
        increment=told.increment,
        keep=told.incremental,
        live=call.verb.endswith("_live"),
        record=told.record,
    )

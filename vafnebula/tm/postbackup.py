"""postbackup: nothing of a backup stays but what the next increment needs."""

from __future__ import annotations

from typing import Callable

from vafnebula.model_points import PostBackup
from vafnebula.one.xml import Vm
from vafnebula.tm import backup
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> PostBackup:
    """The record comes on stdin, as it was when OpenNebula began the backup."""
    told = backup.read(call)
    return PostBackup(
        vm=call.vm,
        disk=-1,
        sds=call.sds,
        directory=call.directory,
        place=backup.place(call),
        disks=list(call.disks),
        last=told.last if told.incremental else -1,
        failed=told.failed,
    )

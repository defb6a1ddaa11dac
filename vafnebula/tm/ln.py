"""ln: a disk from a persistent image, a CD-ROM image or another read-only one (DISK/CLONE=NO)."""

from __future__ import annotations

from typing import Callable

from vafnebula.model import Link
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> Link:
    """`ln` does not imply persistent: a CD-ROM comes by `ln` and leaves by `delete`."""
    vm = read()
    disk = vm.disk(call.disk)
    return Link(
        disk=reference.disk(call, vm),
        image=reference.image(call),
        size=disk.size,
        readonly=disk.type == "CDROM" or disk.readonly,
    )

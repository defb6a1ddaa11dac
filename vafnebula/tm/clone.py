"""clone: a disk from a non-persistent image (DISK/CLONE=YES)."""

from __future__ import annotations

from typing import Callable

from vafnebula.model import Clone
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> Clone:
    """The size is only in the record, and may exceed the image's: no `resize` follows (seen in transfer scripts)."""
    vm = read()
    return Clone(disk=reference.disk(call, vm), image=reference.image(call), size=vm.disk(call.disk).size)

"""mvds: a persistent disk goes back to its image (DISK/SAVE=YES)."""

from __future__ import annotations

from typing import Callable

from vafnebula.model import Save
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> Save:
    """Only the history record's number is taken from the VM: the disk may be gone from it after a detach."""
    return Save(disk=reference.disk(call, read()), image=reference.image(call))

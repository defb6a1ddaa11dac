"""snap_create: a disk snapshot of a VM that does not run."""

from __future__ import annotations

from typing import Callable

from vafnebula.model_points import SnapCreate
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> SnapCreate:
    """Nothing is read: the call says all."""
    return SnapCreate(disk=reference.place(call), snap=call.snap)

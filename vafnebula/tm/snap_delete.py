"""snap_delete: give a disk snapshot up."""

from __future__ import annotations

from typing import Callable

from vafnebula.model_points import SnapDelete
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> SnapDelete:
    """Nothing is read: the call says all."""
    return SnapDelete(disk=reference.place(call), snap=call.snap)

"""snap_revert: a disk becomes what its disk snapshot holds."""

from __future__ import annotations

from typing import Callable

from vafnebula.model_points import SnapRevert
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> SnapRevert:
    """Nothing is read: the call says all."""
    return SnapRevert(disk=reference.place(call), snap=call.snap)

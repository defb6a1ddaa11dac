"""resize: a larger disk, of a running VM too."""

from __future__ import annotations

from typing import Callable

from vafnebula.model_points import Resize
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> Resize:
    """Nothing is read: NEWSIZE is absolute, and OpenNebula only lets disks grow."""
    return Resize(disk=reference.place(call), size=call.size)

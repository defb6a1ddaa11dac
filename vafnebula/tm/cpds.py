"""cpds: the present content of a disk, or of a disk snapshot, becomes an image."""

from __future__ import annotations

from typing import Callable

from vafnebula.model import SaveAs
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> SaveAs:
    """Nothing is read: the new image's file is in the call, and does not exist yet."""
    return SaveAs(disk=reference.place(call), image=reference.image(call), snap=call.snap)

"""delete: one disk, or the VM's directory with all that is left of the VM."""

from __future__ import annotations

from typing import Callable

from vafnebula.model import Delete
from vafnebula.one.xml import Vm
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> Delete:
    """Nothing is read: a VM must be removable when the API is down, and when it is DONE already."""
    return Delete(vm=call.vm, disk=call.disk, sds=call.sds, directory=call.directory)

"""resize: a larger disk, of a running VM too."""

from __future__ import annotations

from typing import Callable

from vafnebula import errors
from vafnebula.model_points import Resize
from vafnebula.one.xml import Vm
from vafnebula.tm import parked, reference
from vafnebula.tm.argv import Call

UNDEPLOYED = 64  # LCM_STATE DISK_RESIZE_UNDEPLOYED (include/VirtualMachine.h)


def request(call: Call, read: Callable[[], Vm]) -> Resize:
    """Nothing is read: NEWSIZE is absolute, and OpenNebula only lets disks grow.

    But a disk may be parked here, while OpenNebula names the node that it was on; an old card alone does not prove it.
    """
    if parked.there(call.directory, call.disk) and read().lcm == UNDEPLOYED:
        raise errors.NotFound(what="an undeployed VM's volume", advice="resume the VM, then resize its disk")
    return Resize(disk=reference.place(call), size=call.size)

"""delete: one disk, or the VM's directory with all that is left of the VM; also what is parked on the front-end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from vafnebula.config import Site
from vafnebula.model import Delete
from vafnebula.one.xml import Vm
from vafnebula.tm import parked
from vafnebula.tm.argv import Call
from vafnebula.tm.order import order


def perform(call: Call, read: Callable[[], Vm], site: Site) -> Mapping[str, object]:
    """Nothing is read: a VM must be removable when the API is down, and when it is DONE already.

    OpenNebula names the front-end for a VM that is stopped, but the last node when it repeats a failed epilog.
    """
    parked.remove(call.directory, call.disk)
    if parked.only_here(call.host, site):
        return {}
    return order(call, request(call, read), site)


def request(call: Call, read: Callable[[], Vm]) -> Delete:
    return Delete(vm=call.vm, disk=call.disk, sds=call.sds, directory=call.directory)

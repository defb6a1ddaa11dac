"""cpds: the present content of a disk, or of a disk snapshot, becomes an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from vafnebula.config import Site
from vafnebula.model_points import SaveAs
from vafnebula.one.xml import Vm
from vafnebula.tm import parked, reference
from vafnebula.tm.argv import Call
from vafnebula.tm.order import order


def perform(call: Call, read: Callable[[], Vm], site: Site) -> Mapping[str, object]:
    """A disk of a stopped VM is parked on the front-end, which is then the host that is named."""
    if parked.there(call.directory, call.disk):
        return parked.save_as(call)
    return order(call, request(call, read), site)


def request(call: Call, read: Callable[[], Vm]) -> SaveAs:
    """Nothing is read: the new image's file is in the call, and does not exist yet."""
    return SaveAs(disk=reference.place(call), image=reference.image(call), snap=call.snap)

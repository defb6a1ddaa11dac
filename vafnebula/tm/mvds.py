"""mvds: a persistent disk goes back to its image (DISK/SAVE=YES), from its node or from where it is parked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from vafnebula.config import Site
from vafnebula.model import Save
from vafnebula.one.xml import Vm
from vafnebula.tm import parked, reference
from vafnebula.tm.argv import Call
from vafnebula.tm.order import order


def perform(call: Call, read: Callable[[], Vm], site: Site) -> Mapping[str, object]:
    """A parked disk is saved here, whatever host is named: a repeated epilog names the last node."""
    if parked.there(call.directory, call.disk):
        return parked.save(call)
    if parked.saved(call):
        return {"result": "there"}
    return order(call, request(call, read), site)


def request(call: Call, read: Callable[[], Vm]) -> Save:
    """Only the history record's number is taken from the VM: the disk may be gone from it after a detach."""
    return Save(disk=reference.disk(call, read()), image=reference.image(call))

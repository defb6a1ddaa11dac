"""premigrate: the destination gets volumes of the right name and size, for libvirt to copy the disks to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from vafnebula.config import Site
from vafnebula.model_moves import Premigrate
from vafnebula.one.xml import Vm
from vafnebula.tm import live
from vafnebula.tm.argv import Call
from vafnebula.tm.order import order


def perform(call: Call, read: Callable[[], Vm], site: Site) -> Mapping[str, object]:
    """Refused where the disks would not be copied, before anything is changed."""
    live.require_copying(call)
    vm = read()
    place = live.source(call, vm, site)
    live.others(call, vm)
    wanted = Premigrate(call.vm, -1, vm.seq, call.sds, call.directory, place)
    return order(call, wanted, site, forward=True)

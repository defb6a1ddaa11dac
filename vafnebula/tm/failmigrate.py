"""failmigrate: the VM stayed where it was; what premigrate made on the destination goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from vafnebula.config import Site
from vafnebula.model_moves import Failmigrate
from vafnebula.one.xml import Vm
from vafnebula.tm import live
from vafnebula.tm.argv import Call
from vafnebula.tm.order import order


def perform(call: Call, read: Callable[[], Vm], site: Site) -> Mapping[str, object]:
    """Our own part first, and never on the node and path where the VM runs."""
    vm = read()
    live.source(call, vm, site)
    facts = order(call, Failmigrate(call.vm, -1, vm.seq, call.sds, call.directory), site, forward=True)
    live.others(call, vm)
    return facts

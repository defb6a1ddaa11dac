"""postmigrate: the VM runs on the destination; the source gives its volumes up.  OpenNebula only logs a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from vafnebula.config import Site
from vafnebula.model_moves import Postmigrate
from vafnebula.one.xml import Vm
from vafnebula.tm import live
from vafnebula.tm.argv import Call
from vafnebula.tm.order import order


def perform(call: Call, read: Callable[[], Vm], site: Site) -> Mapping[str, object]:
    """Our own part first: another driver's failure shall not leave volumes behind."""
    vm = read()
    wanted = Postmigrate(call.vm, -1, vm.seq, call.sds, call.directory, live.source(call, vm, site))
    facts = order(call, wanted, site, forward=True)
    live.others(call, vm)
    return facts

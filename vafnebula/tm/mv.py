"""mv: a disk, or with the last line of the script all the rest, goes to another node, to the front-end or back from it.

    node -> node            the destination fetches, over an ssh of its own to the source
    node -> front-end       stop and undeploy: plain sparse files (parked.py)
    front-end -> node       resume
    dead node -> node       LCM_STATE 60: nothing is asked of the source; made anew, if the site wants that

The last history record is that of the host that the VM is going to, or of the one that it leaves for the front-end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Callable

from vafnebula import errors
from vafnebula.config import Site
from vafnebula.model_moves import Move
from vafnebula.one.xml import Vm
from vafnebula.tm import argv, clone, ln, mkimage, parked, reference
from vafnebula.tm.argv import Call
from vafnebula.tm.order import order

DEAD = (60, 61)  # PROLOG_MIGRATE_UNKNOWN and its failure: the fault tolerance hook took the source for dead


def perform(call: Call, read: Callable[[], Vm], site: Site) -> Mapping[str, object]:
    """Move.  On the same host and path there is nothing to do."""
    vm = read()
    if (call.host, call.directory) == (call.from_host, call.from_directory):
        return {"result": "there"}
    if vm.lcm in DEAD:
        return _without_source(call, vm, site)
    if call.host != vm.host:
        return parked.keep(call, vm, site)
    if call.from_host not in vm.hosts or parked.there(call.from_directory, call.disk):
        return parked.bring_back(call, vm, site)
    return order(call, request(call, vm, site), site, forward=True)


def request(call: Call, vm: Vm, site: Site) -> Move:
    """For the destination, which fetches."""
    place = reference.source(call, call.from_sds, call.from_directory, site)
    return Move(call.vm, call.disk, vm.seq, call.sds, call.directory, place)


def _without_source(call: Call, vm: Vm, site: Site) -> Mapping[str, object]:
    """A disk that cannot be had is made as it once was.  Raises SourceDead unless the site wants that and it can be."""
    if site.storage(call.sds).dead_source == "refuse":
        advice = "bring it back and recover, or set dead_source = recreate and recover with --retry"
        raise errors.SourceDead(host=call.from_host, why="nothing can be copied from it", advice=advice)
    if call.disk < 0:
        return {"result": "nothing"}
    disk = vm.disk(call.disk)
    if disk.save:
        advice = "its image holds what was saved last: bring the host back, or terminate the VM"
        raise errors.SourceDead(host=call.from_host, why=f"disk {call.disk} is persistent", advice=advice)
    made = replace(call, from_host="", source=argv.path_of(disk.source) if disk.source else "")
    if not disk.source:
        kind = "swap" if disk.type == "SWAP" else "raw"
        wanted: Any = mkimage.request(replace(made, verb="mkimage", size=disk.size, format=kind), lambda: vm)
    elif disk.clone:
        wanted = clone.request(replace(made, verb="clone"), lambda: vm)
    else:
        wanted = ln.request(replace(made, verb="ln"), lambda: vm)
    return {"result": "made anew", **order(call, wanted, site)}

"""capacity: a line per system datastore on this node, as OpenNebula's own probe prints for directories:

    DS = [ ID = 100, USED_MB = 1024, TOTAL_MB = 7168, FREE_MB = 6144 ]

The scheduler (6.10 to 7.4) compares a VM's full disk sizes with FREE_MB, and knows nothing of cached images or of
sparse disks.  So FREE_MB is what the node would admit now: below pool_limit, less what running copies have reserved,
plus the cached images that may go.  In mode thin it is also never more than what `overcommit` leaves beside the full
sizes of the disks that are there: they grow later.  A datastore without a usable thin pool has no room: without a line
OpenNebula would take that of the root file system.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from vafnebula import errors, names, units
from vafnebula.config import Site
from vafnebula.model import Settings
from vafnebula.node import lvm, room
from vafnebula.node.host import Host

SNAPSHOT_COSTS = 8 * units.MIB  # thick: what a snapshot takes besides its chunks, rounded to extents


@dataclass(frozen=True)
class Capacity:
    """Bytes of a system datastore."""

    total: int
    free: int


def capacity(host: Host, site: Site) -> str:
    """The lines of all system datastores of this node.  Raises SudoRefused, CommandFailed."""
    lines = []
    for vg, (size, free) in sorted(lvm.groups(host).items()):
        sds = names.sds_of(vg)
        found = of_group(lvm.group(host, vg), size, free, site.storage(sds), time.time())
        lines.append(line(sds, found))
    return "".join(lines)


def of_group(group: lvm.Group, size: int, free: int, settings: Settings, now: float) -> Capacity:
    """What there is in a VG of `size` bytes with `free` unallocated, at `now` (epoch seconds)."""
    evictable = room.candidates(group, settings, now)
    if settings.mode == "thick":
        possible = free + sum(v.size for v in evictable)
        return Capacity(size, max(0, possible - possible // 2048 - SNAPSHOT_COSTS))
    try:
        unused = room.thin_free(group, settings.pool_limit)
    except errors.NoThinPool:
        return Capacity(0, 0)
    [pool] = [v for v in group.volumes if v.name == names.THIN_POOL]
    if pool.metadata_percent >= settings.pool_limit:
        return Capacity(pool.size, 0)
    possible = unused + sum(int(v.tag("holds") or 0) for v in evictable)
    kept = [v for v in group.volumes if v.ours and v not in evictable]
    promised = sum(int(v.tag("size") or v.size) if v.tag("vm") else int(v.tag("holds") or 0) for v in kept)
    promisable = pool.size * settings.pool_limit * settings.overcommit // 10_000
    return Capacity(pool.size, max(0, min(possible, promisable - promised)))


def line(sds: int, found: Capacity) -> str:
    total, free = found.total // units.MIB, found.free // units.MIB
    return f"DS = [ ID = {sds}, USED_MB = {total - free}, TOTAL_MB = {total}, FREE_MB = {free} ]\n"

"""Room: eviction of cached images, and a clear refusal before anything breaks.

LVM itself refuses a volume for which the VG or the thin pool lacks room.  Only a copy into a thin volume needs more:
its bytes arrive after the volume was made, so they are reserved, in a tag of the volume, until the copy is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from vafnebula import errors, log, names
from vafnebula.model import Settings
from vafnebula.node import lock, lvm
from vafnebula.node.host import Host


def origin_lock(vg: str, key: str) -> str:
    return f"origin-{vg}-{key}"


def making(host: Host, settings: Settings, vg: str, wanted: int, create: Callable[[], None]) -> None:
    """Run `create`; when LVM refuses it for lack of room, evict cached images one by one and try again.

    `wanted` is the size of the volume in bytes, for the message.  Raises NoRoom with figures, and what `create` raises.
    """
    try:
        create()
        return
    except errors.NoRoom:
        pass
    with exclusive(settings, vg, "eviction"):
        if settings.mode == "thick":  # what a snapshot in a thin pool will need is not known
            _require_possible(host, settings, vg, wanted, lvm.free_bytes(host, vg))
        for _ in _evictions(host, settings, vg):
            try:
                create()
                return
            except errors.NoRoom:
                continue
    raise _lvms_refusal(host, settings, vg, wanted)


def reserving(host: Host, settings: Settings, vg: str, wanted: int, create: Callable[[], None]) -> None:
    """Run `create`, which makes a volume tagged `names.reserve(wanted)`, once the thin pool has `wanted` bytes.

    Raises NoRoom before anything is made, NoThinPool.
    """
    with exclusive(settings, vg, "room for a fill"):
        group = lvm.group(host, vg)
        free = thin_free(group, settings.pool_limit)
        require_metadata(group, settings)
        if free < wanted:
            _require_possible(host, settings, vg, wanted, free)
            evicted = _evictions(host, settings, vg)
            while thin_free(lvm.group(host, vg), settings.pool_limit) < wanted:
                if next(evicted, None) is None:
                    raise _refusal(host, settings, vg, wanted)
        try:
            create()
        except errors.NoRoom:
            raise _lvms_refusal(host, settings, vg, wanted) from None


def for_copy(host: Host, settings: Settings, vg: str, name: str, size: int, tags: Sequence[str], wanted: int) -> None:
    """Make volume `name` of `size` bytes for a copy that will occupy at most `wanted` of them (mode thin).

    Thin: it reads zeros, and carries `names.reserve(wanted)` until the caller takes that tag off.  Thick: plain, and it
    holds whatever its extents held.  Raises VolumeExists, NoRoom, NoThinPool.
    """
    if settings.mode == "thin":
        own = [*tags, names.reserve(wanted)]
        create = partial(lvm.thin_volume, host, vg, name, size, own, limit=settings.pool_limit)
        reserving(host, settings, vg, wanted, create)
    else:
        making(host, settings, vg, size, partial(lvm.linear_volume, host, vg, name, size, tags))


def require_metadata(group: lvm.Group, settings: Settings) -> None:
    """Raises NoMetadata when the thin pool's metadata are too full for what will write much of them.

    LVM itself refuses a thin volume when less than 4 MiB of them (a quarter, if they are small) are free, so a warm
    clone needs no look; this is the check of those actions that look at the VG anyway.
    """
    thin_pool = group.find(names.THIN_POOL)
    if thin_pool is not None and thin_pool.metadata_percent > settings.metadata_limit:
        raise _full_metadata(group)


def thin_free(group: lvm.Group, limit: int) -> int:
    """Bytes that may still be written to the VG's thin pool below `limit` percent, reservations taken off.

    Raises NoThinPool.
    """
    thin_pool = group.find(names.THIN_POOL)
    if thin_pool is None or thin_pool.kind != "thin-pool":
        raise errors.NoThinPool(vg=group.name, name=names.THIN_POOL, why="it does not exist")
    if not thin_pool.zeroing:
        why = "it does not zero new chunks, so VMs would read each other's old data"
        raise errors.NoThinPool(vg=group.name, name=names.THIN_POOL, why=why)
    used = int(thin_pool.size * thin_pool.data_percent / 100)
    open_reservations = sum(
        max(0, int(v.tag("reserve") or 0) - int(v.size * v.data_percent / 100)) for v in group.volumes if v.ours
    )
    return thin_pool.size * limit // 100 - used - open_reservations


def _require_possible(host: Host, settings: Settings, vg: str, wanted: int, free: int) -> None:
    """Raises NoRoom when even the eviction of all that may go would not make room: then nothing goes in vain.

    What an inactive origin occupies in a thin pool is not known without activating it; its size is the upper bound.
    """
    if free + sum(v.size for v in candidates(lvm.group(host, vg), settings, time.time())) < wanted:
        raise _refusal(host, settings, vg, wanted)


@contextmanager
def exclusive(settings: Settings, vg: str, what: str) -> Iterator[int]:
    """Hold the VG's lock: for changes of metadata that must not mix, never while copying."""
    with lock.hold(settings.lock_dir, f"vg-{vg}", what, wait=settings.lock_wait) as fd:
        yield fd


def _lvms_refusal(host: Host, settings: Settings, vg: str, wanted: int) -> errors.NoRoom | errors.NoMetadata:
    """Why LVM refused a volume: when a thin pool has room for data, it is for its metadata (LVM wants 4 MiB free)."""
    if settings.mode == "thin":
        group = lvm.group(host, vg)
        if thin_free(group, settings.pool_limit) > 0:
            return _full_metadata(group)
    return _refusal(host, settings, vg, wanted)


def _full_metadata(group: lvm.Group) -> errors.NoMetadata:
    percent = next((v.metadata_percent for v in group.volumes if v.name == names.THIN_POOL), 0)
    return errors.NoMetadata(pool=f"{group.name}/{names.THIN_POOL}", percent=int(percent))


def _refusal(host: Host, settings: Settings, vg: str, wanted: int) -> errors.NoRoom:
    if settings.mode == "thin":
        free, where = thin_free(lvm.group(host, vg), settings.pool_limit), f"thin pool of {vg}"
    else:
        free, where = lvm.free_bytes(host, vg), f"volume group {vg}"
    return errors.NoRoom(where=where, wanted=f"{wanted} bytes", free=f"{max(free, 0)} bytes")


def _evictions(host: Host, settings: Settings, vg: str) -> Iterator[str]:
    """Evict one thing at a time, the most useless first, and yield its name; ends when nothing may go."""
    for volume in candidates(lvm.group(host, vg), settings, time.time()):
        if evict(host, settings, vg, volume.name):
            yield volume.name


def candidates(group: lvm.Group, settings: Settings, now: float) -> list[lvm.Volume]:
    """What may be evicted at `now` (epoch seconds): debris of dead fills, then unused origins, oldest use first."""

    def used(volume: lvm.Volume) -> float:
        return max(volume.created, lock.last_used(settings.lock_dir, origin_lock(group.name, key_of(volume.name))))

    debris = [v for v in group.volumes if v.ours and v.name.startswith(names.FILL_PREFIX)]
    origins = [
        v
        for v in group.volumes
        if v.ours
        and v.name.startswith(names.ORIGIN_PREFIX)
        and names.PINNED not in v.tags
        and not group.snapshots_of(v.name)
        and now - used(v) >= settings.cache_min_age
    ]
    return debris + sorted(origins, key=used)


def evict(host: Host, settings: Settings, vg: str, name: str) -> bool:
    """Remove one origin or dead fill unless somebody fills it or made a snapshot of it meanwhile."""
    try:
        with lock.hold(settings.lock_dir, origin_lock(vg, key_of(name)), f"eviction of {name}", wait=0):
            if lvm.group(host, vg).snapshots_of(name):
                return False
            lvm.remove(host, vg, lvm.by_name(name))
    except errors.Busy:
        return False
    log.event("evict", vg=vg, volume=name)
    return True


def key_of(name: str) -> str:
    """KEY of an origin's or fill's volume name."""
    return name.removeprefix(names.ORIGIN_PREFIX).removeprefix(names.FILL_PREFIX)

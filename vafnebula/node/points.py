"""Points in time of a disk, in mode thin: read-only thin snapshots of its volume, each made by one LVM command.

    -s<ID>               a disk snapshot: inactive, kept until it is deleted
    -b<N>                what backup N saw: inactive, kept until backup N+1 needs it no more
    -saveas, -backup     active while it is copied, gone with the action
    -revert, -old        a disk that is about to take, or has just given up, the disk's name (deeds/snap_revert.py)

The endings follow the disk's own name.  All carry the disk's tags, so that whatever removes the disk removes them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from vafnebula import errors, log, names
from vafnebula.model import DiskRef, Settings
from vafnebula.node import lvm, room
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def require_thin(settings: Settings, ref: DiskRef, what: str) -> None:
    """Raises NeedsThin, before anything is looked at, in mode thick."""
    if settings.mode != "thin":
        raise errors.NeedsThin(what=what, sds=ref.sds)


def require_disk(host: Host, ref: DiskRef, group: lvm.Group) -> lvm.Volume:
    """The disk's volume, usable.  Raises NotFound, NotOurs, BrokenSnapshot."""
    volume = group.find(ref.volume) or recover(host, ref, group)
    if volume is None:
        advice = "is the VM on another node? look at `onevm show`, and for the volume there"
        raise errors.NotFound(what=f"volume {ref.vg}/{ref.volume}", advice=advice)
    if not volume.ours:
        raise errors.NotOurs(what=f"volume {ref.vg}/{ref.volume}")
    if volume.overflowed:
        raise errors.BrokenSnapshot(volume=f"{ref.vg}/{ref.volume}")
    return volume


def require_snapshot(group: lvm.Group, ref: DiskRef, snap: int) -> lvm.Volume:
    """The volume of disk snapshot `snap`.  Raises NotFound."""
    name = names.disk_snapshot(ref.vm, ref.disk, snap)
    volume = group.find(name)
    if volume is None or not volume.ours:
        raise errors.NotFound(what=f"disk snapshot {ref.vg}/{name}", advice="choose another one, or delete it")
    return volume


def thin_disk(host: Host, ref: DiskRef, group: lvm.Group, what: str) -> lvm.Volume:
    """The disk's volume, which must be thin for `what`.  Raises NeedsThin, and what require_disk raises."""
    volume = require_disk(host, ref, group)
    if volume.kind != "thin":
        raise errors.NeedsThin(what=what, sds=ref.sds)
    return volume


def recover(host: Host, ref: DiskRef, group: lvm.Group) -> lvm.Volume | None:
    """Give a disk its name back that a revert had taken away when it was killed; None when there is no such disk."""
    old = group.find(former(ref))
    if old is None or not old.ours:
        return None
    lvm.rename(host, ref.vg, old.name, ref.volume)
    lvm.remove(host, ref.vg, lvm.by_name(coming(ref)))
    log.event("recover", vg=ref.vg, volume=ref.volume)
    return lvm.group(host, ref.vg).find(ref.volume)


def former(ref: DiskRef) -> str:
    """What a disk's volume is called while a revert puts another in its place."""
    return f"{ref.volume}-old"


def coming(ref: DiskRef) -> str:
    """What the volume is called that a revert puts in a disk's place."""
    return f"{ref.volume}-revert"


def replace(host: Host, ref: DiskRef, undo: Undo) -> None:
    """Give the disk's name to what is called `coming` now, and remove what had it.

    When this is left half done, undone by `undo`, the disk is either one, whole, under its name.
    """
    undo.push(ref.volume, partial(_settle, host, ref))
    try:
        lvm.rename(host, ref.vg, ref.volume, former(ref))
    except errors.VolumeExists:  # an earlier run published and was killed before its last step
        lvm.remove(host, ref.vg, lvm.by_name(former(ref)))
        lvm.rename(host, ref.vg, ref.volume, former(ref))
    lvm.rename(host, ref.vg, coming(ref), ref.volume)
    lvm.remove(host, ref.vg, lvm.by_name(former(ref)))


def _settle(host: Host, ref: DiskRef) -> None:
    """Leave one disk, whatever this run got done: its own if that has the name already, else the former."""
    disk = lvm.group(host, ref.vg).find(ref.volume)
    if disk is None:
        lvm.rename(host, ref.vg, former(ref), ref.volume)
    elif disk.tag("run") == host.run_id:
        lvm.remove(host, ref.vg, lvm.by_name(former(ref)))


def inherited(host: Host, disk: lvm.Volume) -> list[str]:
    """The tags of what takes `disk`'s place, without those that tell its content: size and origin."""
    own = tuple(f"vaf.{what}=" for what in ("run", "origin", "reserve", "size"))
    return [*sorted(t for t in disk.tags if not t.startswith(own)), names.tag("run", host.run_id)]


def key(volume: lvm.Volume) -> str:
    """KEY of the origin that a volume descends from, '' when it has none."""
    here = volume.origin.startswith(names.ORIGIN_PREFIX)
    return volume.tag("origin") or (volume.origin[len(names.ORIGIN_PREFIX) :] if here else "")


def tags(host: Host, ref: DiskRef, of: lvm.Volume, *more: str) -> list[str]:
    """The tags of what is made of `of`, a volume of the disk."""
    origin = key(of)
    return [
        names.OURS,
        names.tag("run", host.run_id),
        names.tag("vm", ref.vm),
        names.tag("disk", ref.disk),
        names.tag("seq", of.tag("seq")),
        names.tag("size", content(of)),
        *([names.tag("origin", origin)] if origin else []),
        *more,
    ]


def content(volume: lvm.Volume) -> int:
    """The bytes that belong to the disk; the volume is larger by the rest of an extent."""
    return int(volume.tag("size") or volume.size)


def take(
    host: Host, settings: Settings, ref: DiskRef, of: lvm.Volume, name: str, own: Sequence[str], *, active: bool = False
) -> None:
    """Make the read-only snapshot `name` of `of` with tags `own`.  Raises VolumeExists, NoRoom."""

    def create() -> None:
        lvm.snapshot(
            host, ref.vg, of.name, name, own, limit=settings.pool_limit, readonly=True, active=active
        )  # fmt: skip

    room.making(host, settings, ref.vg, of.size, create)


def afresh(host: Host, ref: DiskRef, name: str, make: Callable[[], None]) -> None:
    """Run `make`, which makes `name`; what an earlier run left there, half used, is removed first."""
    try:
        make()
    except errors.VolumeExists:
        lvm.remove(host, ref.vg, lvm.by_name(name))
        make()


def mine(host: Host, name: str) -> str:
    """Selects `name` if this run made it."""
    return f"{lvm.by_name(name)} && {lvm.by_tag('run', host.run_id)}"


@contextmanager
def frozen(host: Host, settings: Settings, ref: DiskRef, of: lvm.Volume, ending: str) -> Iterator[str]:
    """The device of a snapshot of `of` that lasts as long as the block."""
    name = f"{ref.volume}-{ending}"
    with Undo() as undo:
        undo.push(name, partial(lvm.remove, host, ref.vg, mine(host, name)))
        own = tags(host, ref, of)
        afresh(host, ref, name, lambda: take(host, settings, ref, of, name, own, active=True))
        yield names.device(ref.vg, name)
        lvm.remove(host, ref.vg, mine(host, name))
        undo.commit()


def require_active(host: Host, ref: DiskRef) -> None:
    """Activate the disk's volume if need be."""
    if not os.path.exists(ref.device):
        lvm.activate(host, ref.vg, ref.volume)

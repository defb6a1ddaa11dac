"""What a disk consists of: its volume, its disk snapshots, what a backup holds (points.py); and what each derives from.

A part derives from another part of the disk, or from a cached image, or from nothing that is known.  That is read from
LVM's `origin` and from the tag `vaf.origin`.  It only saves bytes: what is sent is what differs, whatever the base.
"""

from __future__ import annotations

import os
import re

from vafnebula import errors, names
from vafnebula.model import DiskRef
from vafnebula.model_moves import Part
from vafnebula.node import lvm, points
from vafnebula.node.host import Host

ORIGIN = "origin"  # as a base: the cached image that the part derives from
_RUN = ("vaf.run=", "vaf.reserve=", "vaf.seq=", "vaf.recipe=")  # tags that belong to the run that made a volume


def of_disk(host: Host, vg: str, vm: int, disk: int) -> list[Part]:
    """The parts of a disk, parents first; with `disk` -1 those of all disks.

    Raises NotFound when the disk has no volume, NotOurs, BrokenSnapshot, and CopyFailed for one that is itself a copy
    that was never finished.
    """
    group = lvm.group(host, vg)
    if disk >= 0:
        ref = DiskRef(vm, disk, 0, int(vg.rpartition("-")[2]), "")
        if points.require_disk(host, ref, group) not in group.volumes:  # it was given its name back
            group = lvm.group(host, vg)
    chosen = [v for v in group.volumes if v.ours and v.tag("vm") == str(vm) and lasting(vm, disk, v.name)]
    for volume in chosen:
        if names.PARTIAL in volume.tags:
            raise errors.CopyFailed(source=f"{vg}/{volume.name}", why="it is a copy that was never finished")
        if volume.overflowed:
            raise errors.BrokenSnapshot(volume=f"{vg}/{volume.name}")
    return _parents_first([_part(host, group, v, {c.name for c in chosen}) for v in chosen])


def lasting(vm: int, disk: int, name: str, points: str = "sb") -> bool:
    """Whether a volume is a disk of the VM (`disk` -1: any), a disk snapshot or what a backup holds; no leftover."""
    number = r"\d+" if disk < 0 else str(disk)
    point = rf"(-[{points}]\d+)?" if points else ""
    return re.fullmatch(rf"lv-one-{vm}-{number}{point}", name) is not None


def _part(host: Host, group: lvm.Group, volume: lvm.Volume, parts: set[str]) -> Part:
    parent, above = "", group.find(volume.origin)
    if above and above.name in parts:
        parent = above.name
    while above and not above.name.startswith(names.ORIGIN_PREFIX):
        above = group.find(above.origin)
    origin = above or group.find(names.ORIGIN_PREFIX + volume.tag("origin"))
    known = origin is not None and origin.ours and names.COMPLETE in origin.tags
    return Part(
        name=volume.name,
        size=_size(host, group.name, volume),
        used=int(volume.size * (volume.data_percent or 100) / 100),  # 0 when inactive: not known
        tags=sorted(t for t in volume.tags if not t.startswith(_RUN)),
        readonly=volume.attr[1:2] in ("r", "R"),
        parent=parent,
        image=origin.tag("image") if origin and known else "",
        print=origin.tag("print") if origin and known else "",
        origin=origin.name if origin and known else "",
    )


def _size(host: Host, vg: str, volume: lvm.Volume) -> int:
    """What a guest sees: of a classic snapshot LVM tells the size of its store instead."""
    if volume.attr[:1] not in ("s", "S"):
        return volume.size
    if not os.path.exists(names.device(vg, volume.name)):
        lvm.activate(host, vg, volume.name)
    fd = os.open(names.device(vg, volume.name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def _parents_first(parts: list[Part]) -> list[Part]:
    done: list[Part] = []
    left = sorted(parts, key=lambda p: p.name)
    while left:
        ready = [p for p in left if p.parent not in {q.name for q in left}]
        done += ready
        left = [p for p in left if p not in ready]
    return done

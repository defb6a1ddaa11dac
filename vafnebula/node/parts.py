"""What a disk consists of: its volume and those of its disk snapshots, each with what its content derives from.

A part derives from another part of the disk, or from a cached image, or from nothing that is known.  That is read from
LVM's `origin` and from the tag `vaf.origin`.  It only saves bytes: what is sent is what differs, whatever the base.
"""

from __future__ import annotations

import os

from vafnebula import errors, names
from vafnebula.model import Part
from vafnebula.node import lvm
from vafnebula.node.host import Host

ORIGIN = "origin"  # as a base: the cached image that the part derives from
_RUN = ("vaf.run=", "vaf.reserve=", "vaf.seq=", "vaf.recipe=")  # tags that belong to the run that made a volume


def of_disk(host: Host, vg: str, vm: int, disk: int) -> list[Part]:
    """The parts of a disk, parents first; with `disk` -1 those of all disks.  All are active afterwards.

    Raises NotFound when the disk has no volume, NotOurs, BrokenSnapshot, and CopyFailed for one that is itself a copy
    that was never finished.
    """
    group = lvm.group(host, vg)
    chosen = [v for v in group.volumes if v.ours and v.tag("vm") == str(vm) and disk in (-1, int(v.tag("disk") or -2))]
    if disk >= 0:
        _require(group, names.disk_volume(vm, disk), chosen)
    for volume in chosen:
        if names.PARTIAL in volume.tags:
            raise errors.CopyFailed(source=f"{vg}/{volume.name}", why="it is a copy that was never finished")
        if volume.overflowed:
            raise errors.BrokenSnapshot(volume=f"{vg}/{volume.name}")
        if not os.path.exists(names.device(vg, volume.name)):
            lvm.activate(host, vg, volume.name)
    return _parents_first([_part(group, v, {c.name for c in chosen}) for v in chosen])


def _require(group: lvm.Group, name: str, chosen: list[lvm.Volume]) -> None:
    if any(v.name == name for v in chosen):
        return
    if group.find(name):
        raise errors.NotOurs(what=f"volume {group.name}/{name}")
    raise errors.NotFound(what=f"volume {group.name}/{name}", advice="look for it on other nodes before you recover")


def _part(group: lvm.Group, volume: lvm.Volume, parts: set[str]) -> Part:
    parent, above = "", group.find(volume.origin)
    if above and above.name in parts:
        parent = above.name
    while above and not above.name.startswith(names.ORIGIN_PREFIX):
        above = group.find(above.origin)
    origin = above or group.find(names.ORIGIN_PREFIX + volume.tag("origin"))
    known = origin is not None and origin.ours and names.COMPLETE in origin.tags
    fd = os.open(names.device(group.name, volume.name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)  # LVM's lv_size of a classic snapshot is that of its store
    finally:
        os.close(fd)
    return Part(
        name=volume.name,
        size=size,
        used=min(size, int(size * volume.data_percent / 100) + 1) if volume.kind == "thin" else size,
        tags=sorted(t for t in volume.tags if not t.startswith(_RUN)),
        readonly=volume.attr[1:2] in ("r", "R"),
        parent=parent,
        image=origin.tag("image") if origin and known else "",
        print=origin.tag("print") if origin and known else "",
        origin=origin.name if origin and known else "",
    )


def _parents_first(parts: list[Part]) -> list[Part]:
    done: list[Part] = []
    left = sorted(parts, key=lambda p: p.name)
    while left:
        ready = [p for p in left if p.parent not in {q.name for q in left}]
        done += ready
        left = [p for p in left if p not in ready]
    return done

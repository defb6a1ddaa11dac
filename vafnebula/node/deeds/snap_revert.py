"""snap_revert: the disk becomes what a disk snapshot holds.

    make  <disk>-revert          of the snapshot, in the disk's present size, with the disk's tags
    rename  <disk> -> -old, -revert -> <disk>
    remove  -old

Two contents are there until the last step, and a name tells which is which.  When a run is killed between the two
renames the disk has no name; whatever meets it next gives it its old content back (points.recover), and the revert,
given again, starts over.  `disk.N` points to the name, so it is not touched.
"""

from __future__ import annotations

from functools import partial

from vafnebula import errors, names
from vafnebula.model import DiskRef, Settings, SnapRevert
from vafnebula.node import disks, lvm, points, room
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def snap_revert(host: Host, request: SnapRevert, settings: Settings) -> dict[str, object]:
    """Put the snapshot's content in the disk's place.  Raises NeedsThin, NotFound, NotOurs, NoRoom, Busy."""
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)
    points.require_thin(settings, ref, "a disk snapshot")
    with disks.locked(settings, ref, "snap_revert"):
        group = lvm.group(host, ref.vg)
        snapshot = points.require_snapshot(group, ref, request.snap)
        disk = points.thin_disk(host, ref, group, "a disk snapshot")
        if disk.open:
            raise errors.Busy(what=f"volume {ref.vg}/{ref.volume}", why="the VM still runs, or something reads it")
        room.require_metadata(group, settings)
        replace(host, settings, ref, snapshot, disk)
    return {}


def replace(host: Host, settings: Settings, ref: DiskRef, content: lvm.Volume, disk: lvm.Volume) -> None:
    """Put a writable copy of `content`, a thin volume, in the place of `disk`."""
    fresh, old = points.coming(ref), points.former(ref)
    kept = [t for t in disk.tags if not t.startswith(("vaf.run=", "vaf.base=", "vaf.reserve="))]
    origin = points.base(content)
    own = [*sorted(kept), names.tag("run", host.run_id), *([names.tag("base", origin)] if origin else [])]

    def make() -> None:
        room.making(
            host, settings, ref.vg, disk.size,
            lambda: lvm.snapshot(
                host, ref.vg, content.name, fresh, own, limit=settings.pool_limit, readonly="r" in disk.attr[1:2]
            ),
        )  # fmt: skip

    with Undo() as undo:
        undo.push(fresh, partial(lvm.remove, host, ref.vg, points.mine(host, fresh)))
        points.afresh(host, ref, fresh, make)
        if content.size < disk.size:
            lvm.extend(host, ref.vg, fresh, disk.size)
        undo.push(ref.volume, partial(settle, host, ref))
        try:
            lvm.rename(host, ref.vg, ref.volume, old)
        except errors.VolumeExists:  # an earlier run published and was killed before its last step
            lvm.remove(host, ref.vg, lvm.by_name(old))
            lvm.rename(host, ref.vg, ref.volume, old)
        lvm.rename(host, ref.vg, fresh, ref.volume)
        lvm.remove(host, ref.vg, lvm.by_name(old))
        undo.commit()


def settle(host: Host, ref: DiskRef) -> None:
    """Leave one disk, whatever this run got done: its own if that has the name already, else the former."""
    disk = lvm.group(host, ref.vg).find(ref.volume)
    if disk is None:
        lvm.rename(host, ref.vg, points.former(ref), ref.volume)
    elif disk.tag("run") == host.run_id:
        lvm.remove(host, ref.vg, lvm.by_name(points.former(ref)))

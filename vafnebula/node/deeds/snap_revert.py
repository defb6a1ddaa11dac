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
from vafnebula.model import DiskRef, Settings
from vafnebula.model_points import SnapRevert
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
        with Undo() as undo:
            _make(host, settings, ref, snapshot, disk, undo)
            points.replace(host, ref, undo)
            undo.commit()
    return {}


def _make(host: Host, settings: Settings, ref: DiskRef, content: lvm.Volume, disk: lvm.Volume, undo: Undo) -> None:
    """A writable copy of `content`, a thin volume, with the size and the tags of `disk`."""
    fresh, origin = points.coming(ref), points.key(content)
    kept = [names.tag("size", points.content(disk)), *([names.tag("origin", origin)] if origin else [])]
    own, readonly = [*points.inherited(host, disk), *kept], disk.attr[1:2] == "r"

    def make() -> None:
        room.making(
            host, settings, ref.vg, disk.size,
            lambda: lvm.snapshot(
                host, ref.vg, content.name, fresh, own, limit=settings.pool_limit, readonly=readonly
            ),
        )  # fmt: skip

    undo.push(fresh, partial(lvm.remove, host, ref.vg, points.mine(host, fresh)))
    points.afresh(host, ref, fresh, make)
    if content.size < disk.size:
        lvm.extend(host, ref.vg, fresh, disk.size)

"""snap_create: a disk snapshot as a thin snapshot of the disk's volume.

LVM holds the disk's writes for the moment that it takes, so what a running VM's snapshot holds is what a power cut
would have left.
"""

from __future__ import annotations

from functools import partial

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_points import SnapCreate
from vafnebula.node import disks, lvm, points, room
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def snap_create(host: Host, request: SnapCreate, settings: Settings) -> dict[str, object]:
    """Make it.  Facts: result made/there.  Raises NeedsThin, NotFound, NotOurs, NoRoom, Busy."""
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)
    points.require_thin(settings, ref, "a disk snapshot")
    name = names.disk_snapshot(ref.vm, ref.disk, request.snap)
    with disks.locked(settings, ref, "snap_create"):
        group = lvm.group(host, ref.vg)
        volume = points.thin_disk(host, ref, group, "a disk snapshot")
        there = group.find(name)
        if there is not None and not there.ours:
            raise errors.NotOurs(what=f"volume {ref.vg}/{name}")
        if there is not None and there.tag("seq") == volume.tag("seq"):
            return {"result": "there"}  # OpenNebula uses a number once in a disk's life
        room.require_metadata(group, settings)
        own = points.tags(host, ref, volume, names.tag("snap", request.snap))
        if volume.active:  # LVM will not know it of the snapshot; a probe tells it (node/probes/disks.py)
            own.append(names.tag("holds", int(volume.size * volume.data_percent / 100)))
        with Undo() as undo:
            undo.push(name, partial(lvm.remove, host, ref.vg, points.mine(host, name)))
            points.afresh(host, ref, name, lambda: points.take(host, settings, ref, volume, name, own))
            undo.commit()
    return {"result": "made"}

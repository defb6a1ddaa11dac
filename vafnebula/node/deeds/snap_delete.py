"""snap_delete: give a disk snapshot up.  Disks and other snapshots made of it keep what they share with it."""

from __future__ import annotations

from vafnebula import names
from vafnebula.model import Settings
from vafnebula.model_points import SnapDelete
from vafnebula.node import disks, lvm, points
from vafnebula.node.host import Host


def snap_delete(host: Host, request: SnapDelete, settings: Settings) -> dict[str, object]:
    """Remove it; gone already is success.  Raises NeedsThin, Busy."""
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)
    points.require_thin(settings, ref, "a disk snapshot")
    with disks.locked(settings, ref, "snap_delete"):
        lvm.remove(host, ref.vg, lvm.by_name(names.disk_snapshot(ref.vm, ref.disk, request.snap)))
    return {}

"""resize: a larger disk, while a VM uses it too.  The new part reads zeros.

A thin volume just grows.  A plain one (a persistent image in mode thick) would show what its new extents held before:
so they are made a volume of their own first, zeroed there, and only then handed over.
"""

from __future__ import annotations

from functools import partial

from vafnebula import errors, names
from vafnebula.model import DiskRef, Settings
from vafnebula.model_points import Resize
from vafnebula.node import disks, lvm, points, room
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def resize(host: Host, request: Resize, settings: Settings) -> dict[str, object]:
    """Grow; as large or larger already is success.  Facts: result grown/there, size in bytes.

    Raises NeedsThin for classic snapshots, NotFound, NotOurs, BrokenSnapshot, NoRoom, Busy.
    """
    ref, wanted = request.disk, lvm.in_extents(request.size)
    disks.require_place(ref.directory, ref.sds, ref.vm)
    with disks.locked(settings, ref, "resize"):
        volume = points.require_disk(host, ref, lvm.group(host, ref.vg))
        if points.content(volume) >= request.size:
            return {"result": "there", "size": points.content(volume)}
        if volume.classic:
            raise errors.NeedsThin(what="a larger disk", sds=ref.sds)
        if volume.size < wanted:
            if volume.kind == "thin":
                lvm.extend(host, ref.vg, ref.volume, wanted)
            else:
                _extend_plain(host, settings, ref, volume, wanted)
        drop = [t for t in volume.tags if t.startswith("vaf.size=")]
        lvm.retag(host, ref.vg, ref.volume, [names.tag("size", request.size)], drop)
    return {"result": "grown", "size": request.size}


def _extend_plain(host: Host, settings: Settings, ref: DiskRef, volume: lvm.Volume, wanted: int) -> None:
    spare, length = f"{ref.volume}-spare", wanted - volume.size

    def make() -> None:
        own = points.tags(host, ref, volume)
        room.making(host, settings, ref.vg, length, lambda: lvm.linear_volume(host, ref.vg, spare, length, own))

    with Undo() as undo:
        undo.push(spare, partial(lvm.remove, host, ref.vg, points.mine(host, spare)))
        points.afresh(host, ref, spare, make)
        host.zero(names.device(ref.vg, spare), 0, length)
        ranges = lvm.ranges_of(host, ref.vg, spare)
        with room.exclusive(settings, ref.vg, f"resize of {ref.volume}"):
            lvm.remove(host, ref.vg, points.mine(host, spare))
            lvm.extend_onto(host, ref.vg, ref.volume, wanted, ranges)
        undo.commit()

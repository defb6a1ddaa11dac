"""evict: remove an origin because an admin says so, whatever its age."""

from __future__ import annotations

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_admin import Evict
from vafnebula.node import lvm, room
from vafnebula.node.deeds.pin import origin
from vafnebula.node.host import Host


def evict(host: Host, request: Evict, settings: Settings) -> dict[str, object]:
    """Remove it; gone already is fine.  Raises NotOurs, and Busy when it is pinned, in use, or disks are made of it."""
    vg = names.vg(request.sds)
    try:
        volume = origin(host, vg, request.key)
    except errors.NotFound:
        return {"result": "gone", "bytes": 0}
    what = f"origin {request.key}"
    if names.PINNED in volume.tags:
        raise errors.Busy(what=what, why="it is pinned (`vafnebula cache unpin`)")
    disks = lvm.group(host, vg).snapshots_of(volume.name)
    if disks:
        raise errors.Busy(what=what, why=f"{len(disks)} volumes are made of it, as {disks[0].name}")
    if not room.evict(host, settings, vg, volume.name):
        raise errors.Busy(what=what, why="an action uses it just now")
    return {"result": "evicted", "bytes": int(volume.tag("holds") or volume.size)}

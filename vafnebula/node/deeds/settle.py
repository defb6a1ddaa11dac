"""settle: what the next fill of an origin would do with what a crashed one left, now."""

from __future__ import annotations

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_admin import Settle
from vafnebula.node import lock, lvm, room
from vafnebula.node.host import Host


def settle(host: Host, request: Settle, settings: Settings) -> dict[str, object]:
    """Facts: result finished (it was complete but for its name), removed, or there (nothing left).

    Raises Busy when it is being filled just now, NotOurs.
    """
    vg = names.vg(request.sds)
    with lock.hold(settings.lock_dir, room.origin_lock(vg, request.key), f"settle of {request.key}", wait=0):
        group = lvm.group(host, vg)
        fill = group.find(names.FILL_PREFIX + request.key)
        if fill is None:
            return {"result": "there"}
        if not fill.ours:
            raise errors.NotOurs(what=f"volume {vg}/{fill.name}")
        if names.COMPLETE in fill.tags and group.find(names.ORIGIN_PREFIX + request.key) is None:
            lvm.rename(host, vg, fill.name, names.ORIGIN_PREFIX + request.key)
            return {"result": "finished"}
        lvm.remove(host, vg, lvm.by_name(fill.name))
        return {"result": "removed"}

"""pin: keep an origin from eviction, or let it go again."""

from __future__ import annotations

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_admin import Pin
from vafnebula.node import lock, lvm, room
from vafnebula.node.host import Host


def pin(host: Host, request: Pin, settings: Settings) -> dict[str, object]:
    """Pin or unpin; doing it twice is fine.  Raises NotFound, NotOurs."""
    vg = names.vg(request.sds)
    with lock.hold(settings.lock_dir, room.origin_lock(vg, request.key), "", wait=settings.lock_wait, shared=True):
        volume = origin(host, vg, request.key)
        if request.pinned:
            lvm.tag(host, vg, volume.name, [names.PINNED])
        else:
            lvm.untag(host, vg, volume.name, [names.PINNED])
    return {"result": "pinned" if request.pinned else "unpinned"}


def origin(host: Host, vg: str, key: str) -> lvm.Volume:
    """The complete origin of that key.  Raises NotFound, NotOurs."""
    volume = lvm.group(host, vg).find(names.ORIGIN_PREFIX + key)
    if volume is None:
        raise errors.NotFound(what=f"origin {key} in {vg}", advice="see `vafnebula cache list`")
    if not volume.ours:
        raise errors.NotOurs(what=f"volume {vg}/{volume.name}")
    return volume

"""warm: fill the cache before the first VM asks for it."""

from __future__ import annotations

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_admin import Warm
from vafnebula.node import lvm, source
from vafnebula.node.cache import Cache
from vafnebula.node.host import Host


def warm(host: Host, request: Warm, settings: Settings) -> dict[str, object]:
    """Fill.  Facts as for clone: cache hit/miss, origin, bytes.  Raises ImageMissing, ImageUnusable, NoRoom, ..."""
    vg = names.vg(request.sds)
    found = source.inspect(request.image.path)
    cache = Cache(host, vg, settings)

    def use(origin: str) -> None:
        if lvm.group(host, vg).find(origin) is None:
            raise errors.NotFound(what=f"volume {origin}", advice="fill it")
        if request.pin:
            lvm.tag(host, vg, origin, [names.PINNED])

    cache.snapshot(request.image, found, source.disk_size(found, request.size), use)
    return {"result": "warm", **cache.facts}

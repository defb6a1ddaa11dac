"""clone: a disk as a snapshot of the image's origin."""

from __future__ import annotations

from collections.abc import Sequence

from vafnebula.model import Clone, Settings
from vafnebula.node import disks, snapshots, source
from vafnebula.node.cache import Cache
from vafnebula.node.host import Host


def clone(host: Host, request: Clone, settings: Settings) -> dict[str, object]:
    """Make the disk.  Facts: result made/there, cache hit/miss, origin, bytes copied.

    Raises ImageMissing, ImageUnusable, ImageTooLarge before anything is changed, NoRoom, Busy, NotOurs, ...
    """
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)
    found = source.inspect(request.image.path)
    size = source.disk_size(found, request.size)
    cache = Cache(host, ref.vg, settings)

    def build(tags: Sequence[str]) -> None:
        cache.snapshot(
            request.image, found, size, lambda origin: snapshots.of_origin(host, settings, ref, origin, size, tags)
        )
        if settings.mode == "thin" and size > found.size:
            snapshots.grow(host, ref, found.size, size)

    with disks.locked(settings, ref, "clone"):
        made_from = disks.recipe("clone", request.image.datastore, found.path, found.fingerprint, size)
        made = disks.make(host, ref, made_from, size, build)
    return {"result": "made" if made else "there", **cache.facts}

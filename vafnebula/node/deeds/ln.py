"""ln: a disk of a persistent image (a full copy, written back by mvds) or of a CD-ROM image (a read-only snapshot)."""

from __future__ import annotations

from collections.abc import Sequence

from vafnebula import names
from vafnebula.model import Link, Settings
from vafnebula.node import blockcopy, disks, lvm, room, snapshots, source
from vafnebula.node.cache import Cache
from vafnebula.node.host import Host


def ln(host: Host, request: Link, settings: Settings) -> dict[str, object]:
    """Make the disk.  Facts as for clone.  Raises ImageMissing, ImageUnusable, ImageTooLarge, NoRoom, Busy, ..."""
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)
    found = source.inspect(request.image.path)
    if request.readonly:
        return _readonly(host, request, settings, found)
    size = source.disk_size(found, request.size)
    facts: dict[str, object] = {"cache": "none", "bytes": 0}
    with disks.locked(settings, ref, "ln") as lock_fd:

        def build(tags: Sequence[str]) -> None:
            facts["bytes"] = _copy(host, request, settings, found, size, tags, lock_fd)

        # The fingerprint is not part of the recipe: the image changes when an earlier run of its disk is saved.
        made_from = disks.recipe("ln", request.image.datastore, found.path, size)
        host.unlink(disks.saved_marker(ref))
        made = disks.make(host, ref, made_from, size, build)
    return {"result": "made" if made else "there", **facts}


def _copy(
    host: Host,
    request: Link,
    settings: Settings,
    found: source.Source,
    size: int,
    tags: Sequence[str],
    lock_fd: int,
) -> int:
    ref, thin = request.disk, settings.mode == "thin"
    volume_size = lvm.in_extents(size)
    tags = [*tags, names.tag("format", found.format)]
    wanted = blockcopy.bytes_wanted(found) if thin else volume_size
    room.for_copy(host, settings, ref.vg, ref.volume, volume_size, tags, wanted)
    streams = settings.copy_streams
    copied = blockcopy.fill(host, found, ref.device, volume_size, zeroed=thin, streams=streams, locks=[lock_fd])
    if settings.verify:
        blockcopy.compare(host, found.path, found.format, ref.device, found.size, [lock_fd])
    source.require_unchanged(found)
    if thin:
        lvm.untag(host, ref.vg, ref.volume, [names.reserve(wanted)])
    return copied


def _readonly(host: Host, request: Link, settings: Settings, found: source.Source) -> dict[str, object]:
    ref = request.disk
    cache = Cache(host, ref.vg, settings)

    def build(tags: Sequence[str]) -> None:
        cache.snapshot(
            request.image,
            found,
            found.size,
            lambda origin: snapshots.of_origin(host, settings, ref, origin, found.size, tags, readonly=True),
        )

    with disks.locked(settings, ref, "ln"):
        made_from = disks.recipe("ln-ro", request.image.datastore, found.path, found.fingerprint)
        made = disks.make(host, ref, made_from, found.size, build)
    return {"result": "made" if made else "there", **cache.facts}

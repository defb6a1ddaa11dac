"""restore: disks become what images in <directory>/.restore hold, which the front-end put there.

Every disk gets a new volume, filled and compared beside the present one, before any of them is replaced; then each
takes its disk's name as in a revert.  A disk larger than its image stays as large.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from vafnebula import errors, names
from vafnebula.model import DiskRef, Settings
from vafnebula.model_points import Restore
from vafnebula.node import blockcopy, disks, lvm, points, room, source
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def restore(host: Host, request: Restore, settings: Settings) -> dict[str, object]:
    """Restore; without disks only what a restore left in <directory>/.restore is removed.  Facts: bytes read.

    Raises NotFound (disk or image), ImageUnusable, Busy, NoRoom, CopyFailed.
    """
    disks.require_place(request.directory, request.sds, request.vm)
    staging = f"{request.directory}/.restore"
    refs = [DiskRef(request.vm, n, -1, request.sds, request.directory) for n in sorted(request.disks)]
    copied = 0
    with ExitStack() as locks, Undo() as last:
        last.push(staging, partial(host.remove_tree, staging))
        held = [locks.enter_context(disks.locked(settings, ref, "restore")) for ref in refs]
        group = lvm.group(host, names.vg(request.sds)) if refs else None
        now = [points.require_disk(host, ref, group) for ref in refs if group]
        found = [source.inspect(f"{staging}/disk.{ref.disk}") for ref in refs]
        for ref, disk in zip(refs, now):
            if disk.open:
                raise errors.Busy(what=f"volume {ref.vg}/{ref.volume}", why="the VM still runs, or something reads it")
        with Undo() as undo:
            for ref, disk, image, fd in zip(refs, now, found, held):
                copied += _prepare(host, settings, ref, disk, image, fd, undo)
            for ref in refs:
                points.replace(host, ref, undo)
            undo.commit()
    return {"bytes": copied}


def _prepare(
    host: Host, settings: Settings, ref: DiskRef, disk: lvm.Volume, image: source.Source, lock_fd: int, undo: Undo
) -> int:
    """Make and fill the volume that will be the disk; the bytes read."""
    fresh, thin = points.coming(ref), settings.mode == "thin"
    size = max(points.content(disk), image.size)
    own = [*points.inherited(host, disk), names.tag("size", size)]
    length = lvm.in_extents(size)
    wanted = blockcopy.bytes_wanted(image) if thin else length
    undo.push(fresh, partial(lvm.remove, host, ref.vg, points.mine(host, fresh)))
    make = partial(room.for_copy, host, settings, ref.vg, fresh, length, own, wanted)
    points.afresh(host, ref, fresh, make)
    device = names.device(ref.vg, fresh)
    copied = blockcopy.fill(
        host, image, device, length, zeroed=thin, streams=settings.copy_streams, locks=[lock_fd]
    )  # fmt: skip
    blockcopy.compare(host, image.path, image.format, device, image.size, [lock_fd])
    if thin:
        lvm.untag(host, ref.vg, fresh, [names.reserve(wanted)])
    return copied

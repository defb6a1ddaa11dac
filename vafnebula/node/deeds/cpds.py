"""cpds: what a disk or a disk snapshot holds becomes a new image, which appears whole or not at all.

In mode thin the copy is made from a snapshot that lasts as long as the copy: the image of a running VM is what a power
cut would have left.  A classic snapshot cannot be snapshotted, so in mode thick nothing may have the disk open.

The disk of a stopped or undeployed VM is a file, on the front-end: SDIR/disk.N, its disk snapshots in disk.N.snap/.
"""

from __future__ import annotations

import os

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_points import SaveAs
from vafnebula.node import disks, imagefile, lvm, points, source
from vafnebula.node.host import Host


def cpds(host: Host, request: SaveAs, settings: Settings) -> dict[str, object]:
    """Save.  Facts: bytes of the image.

    Raises NotFound, NotOurs, BrokenSnapshot, NeedsThin, NoRoom, ImageMissing (no such datastore here), CopyFailed.
    """
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)
    with disks.locked(settings, ref, "cpds") as lock_fd:

        def copy(device: str, size: int) -> dict[str, object]:
            owner = f"{ref.vm}-{ref.disk}"
            imagefile.write(host, device, size, request.image.path, source.RAW, owner, lock_fd, imagefile.NEW)
            return {"bytes": size}

        if os.path.isfile(ref.link) and not os.path.islink(ref.link):
            file = ref.link if request.snap < 0 else f"{ref.link}.snap/{request.snap}"
            if not os.path.isfile(file):
                raise errors.NotFound(what=f"disk snapshot {file}", advice="choose another one")
            return copy(file, os.path.getsize(file))
        group = lvm.group(host, ref.vg)
        volume = points.require_disk(host, ref, group)
        if request.snap >= 0:
            volume = points.require_snapshot(group, ref, request.snap)
        if volume.kind == "thin":
            with points.frozen(host, settings, ref, volume, "saveas") as device:
                return copy(device, points.content(volume))
        if volume.open:
            raise errors.NeedsThin(what="an image of a disk that is in use", sds=ref.sds)
        points.require_active(host, ref)
        return copy(names.device(ref.vg, volume.name), points.content(volume))

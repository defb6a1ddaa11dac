"""mvds: write a persistent disk back to its image and give its volume up.

The image is replaced by a rename when the new content is whole, flushed and compared; until then the volume stays.  A
proof of the save stays in the VM directory, because OpenNebula repeats the whole script when a later disk fails, and
"the volume is gone" alone would not tell saved from lost.
"""

from __future__ import annotations

import os

from vafnebula import errors
from vafnebula.model import DiskRef, Save, Settings
from vafnebula.node import disks, imagefile, lvm, points, source
from vafnebula.node.host import Host


def mvds(host: Host, request: Save, settings: Settings) -> dict[str, object]:
    """Save.  Facts: result saved/there, bytes of the disk.

    Raises NotFound when there is neither volume nor proof, ImageMissing when the image is not there to be replaced,
    NotOurs, BrokenSnapshot, CopyFailed; the volume is then untouched.
    """
    ref, path = request.disk, request.image.path
    disks.require_place(ref.directory, ref.sds, ref.vm)
    with disks.locked(settings, ref, "mvds") as lock_fd:
        group = lvm.group(host, ref.vg)
        volume = _usable(host, ref, group)
        if volume is None and not _proven(disks.saved_marker(ref), path):
            volume = points.recover(host, ref, group)
            if volume is None:
                advice = "nothing proves that it was saved: look for it on other nodes before you recover"
                raise errors.NotFound(what=f"volume {ref.volume}", advice=advice)
        if volume is None:
            return _saved_before(host, ref, group)
        points.require_active(host, ref)  # one that was given its name back may not be
        size, image_format = points.content(volume), volume.tag("format") or source.RAW
        owner, like = f"{ref.vm}-{ref.disk}", _present(path)
        try:
            imagefile.write(host, ref.device, size, path, image_format, owner, lock_fd, like)
        except errors.CopyFailed:
            group = lvm.group(host, ref.vg)  # a dead run's lvremove may have gone on: sudo does not hand the lock on
            if group.find(ref.volume) or not _proven(disks.saved_marker(ref), path):
                raise
            return _saved_before(host, ref, group)
        host.write_file(disks.saved_marker(ref), path.encode())
        lvm.remove(host, ref.vg, lvm.by_disk(ref.vm, ref.disk))
        host.unlink(ref.link)
    return {"result": "saved", "bytes": size}


def _usable(host: Host, ref: DiskRef, group: lvm.Group) -> lvm.Volume | None:
    """The disk's volume, active; None when there is none, or when a dead run's lvremove gets done with it right now."""
    if group.find(ref.volume) is None:
        return None
    volume = points.require_disk(host, ref, group)
    try:
        points.require_active(host, ref)
    except errors.NotFound:
        return None
    return volume


def _saved_before(host: Host, ref: DiskRef, group: lvm.Group) -> dict[str, object]:
    """What a run that saved the disk left of it goes."""
    if group.of_disk(ref.vm, ref.disk):
        lvm.remove(host, ref.vg, lvm.by_disk(ref.vm, ref.disk))
    host.unlink(ref.link)
    return {"result": "there", "bytes": 0}


def _proven(marker: str, path: str) -> bool:
    try:
        with open(marker, "rb") as f:
            return f.read().decode(errors="replace") == path
    except FileNotFoundError:
        return False


def _present(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as e:
        raise errors.ImageMissing(path=path, why=e.strerror) from e

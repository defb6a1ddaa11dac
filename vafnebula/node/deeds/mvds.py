"""mvds: write a persistent disk back to its image and give its volume up.

The image is replaced by a rename when the new content is whole, flushed and compared; until then the volume stays.  A
proof of the save stays in the VM directory, because OpenNebula repeats the whole script when a later disk fails, and
"the volume is gone" alone would not tell saved from lost.
"""

from __future__ import annotations

import os
from functools import partial

from vafnebula import errors
from vafnebula.model import Save, Settings
from vafnebula.node import blockcopy, disks, lvm, source
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def mvds(host: Host, request: Save, settings: Settings) -> dict[str, object]:
    """Save.  Facts: result saved/there, bytes of the disk.

    Raises NotFound when there is neither volume nor proof, ImageMissing when the image is not there to be replaced,
    NotOurs, BrokenSnapshot, CopyFailed; the volume is then untouched.
    """
    ref, path = request.disk, request.image.path
    disks.require_place(ref.directory, ref.sds, ref.vm)
    with disks.locked(settings, ref, "mvds") as lock_fd:
        volume = lvm.group(host, ref.vg).find(ref.volume)
        if volume is None:
            _require_proof(ref.volume, disks.saved_marker(ref), path)
            host.unlink(ref.link)
            return {"result": "there", "bytes": 0}
        if not volume.ours:
            raise errors.NotOurs(what=f"volume {ref.vg}/{ref.volume}")
        if volume.overflowed:
            raise errors.BrokenSnapshot(volume=f"{ref.vg}/{ref.volume}")
        if not os.path.exists(ref.device):
            lvm.activate(host, ref.vg, ref.volume)
        size = int(volume.tag("size") or volume.size)
        _replace(host, ref.device, size, path, volume.tag("format") or source.RAW, f"{ref.vm}-{ref.disk}", lock_fd)
        host.write_file(disks.saved_marker(ref), path.encode())
        lvm.remove(host, ref.vg, lvm.by_name(ref.volume))
        host.unlink(ref.link)
    return {"result": "saved", "bytes": size}


def _require_proof(volume: str, marker: str, path: str) -> None:
    try:
        with open(marker, "rb") as f:
            proven = f.read().decode(errors="replace")
    except FileNotFoundError:
        proven = ""
    if proven != path:
        advice = "nothing proves that it was saved: look for it on other nodes before you recover"
        raise errors.NotFound(what=f"volume {volume}", advice=advice)


def _replace(host: Host, device: str, size: int, path: str, image_format: str, owner: str, lock_fd: int) -> None:
    try:
        like = os.stat(path)
    except OSError as e:
        raise errors.ImageMissing(path=path, why=e.strerror) from e
    fresh = f"{path}.vaf-{owner}"
    with Undo() as undo:
        undo.push(fresh, partial(host.unlink, fresh))
        host.prepare_file(fresh, like)
        blockcopy.save(host, device, size, fresh, image_format, [lock_fd])
        blockcopy.compare(host, fresh, image_format, device, size, [lock_fd])
        host.rename(fresh, path)
        undo.commit()

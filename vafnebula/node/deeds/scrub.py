"""scrub: compare an origin with its image, while disks are made of it and run.

An origin's lock is shared for as long as that takes: clones go on, eviction does not.  One scrub at a time per VG.
"""

from __future__ import annotations

import os
from contextlib import suppress

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_admin import Scrub
from vafnebula.node import blockcopy, lock, lvm, room, source
from vafnebula.node.deeds.pin import origin
from vafnebula.node.host import Host


def scrub(host: Host, request: Scrub, settings: Settings) -> dict[str, object]:
    """Facts: result same, different, changed (the image is a newer one) or gone (it is no more); bytes compared.

    Raises NotFound, NotOurs, Busy.
    """
    vg = names.vg(request.sds)
    with lock.hold(settings.lock_dir, f"scrub-{vg}", "scrub", wait=0):
        name = room.origin_lock(vg, request.key)
        with lock.hold(settings.lock_dir, name, "", wait=settings.lock_wait, shared=True) as fd:
            volume = origin(host, vg, request.key)
            path = f"{request.root}/{volume.tag('image')}"
            try:
                found = source.inspect(path)
            except errors.ImageMissing:
                return {"result": "gone", "bytes": 0}
            if found.fingerprint != volume.tag("print"):
                return {"result": "changed", "bytes": 0}
            device = names.device(vg, volume.name)
            was_active = os.path.exists(device)
            result = "same"
            try:
                with lvm.held(host, vg, volume.name):
                    blockcopy.compare(host, path, found.format, device, found.size, [fd])
            except errors.CopyFailed:
                source.require_unchanged(found)
                result = "different"
        if not was_active:
            _deactivate(host, settings, vg, volume.name, name)
    return {"result": result, "bytes": found.size}


def _deactivate(host: Host, settings: Settings, vg: str, volume: str, name: str) -> None:
    """Take the device away again, unless disks are made of it by now: a classic snapshot would lose its device too.

    An origin that stays active costs nothing but its place in /dev.
    """
    with suppress(errors.Busy), lock.hold(settings.lock_dir, name, "scrub", wait=settings.lock_wait):
        group = lvm.group(host, vg)
        if group.find(volume) and not group.snapshots_of(volume):
            lvm.deactivate(host, vg, volume)

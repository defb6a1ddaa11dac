"""relink: publish a finished disk again whose link was lost."""

from __future__ import annotations

import os

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_admin import Relink
from vafnebula.node import disks, lvm, points
from vafnebula.node.host import Host


def relink(host: Host, request: Relink, settings: Settings) -> dict[str, object]:
    """Make the link, if need be of what a revert that was cut off has left.

    Raises NotFound, NotOurs, BrokenSnapshot, and Busy when the disk is half made.
    """
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)
    with disks.locked(settings, ref, "relink"):
        what = f"volume {ref.vg}/{ref.volume}"
        group = lvm.group(host, ref.vg)
        volume = group.find(ref.volume) or points.recover(host, ref, group)
        if volume is None:
            raise errors.NotFound(what=what, advice="`onevm recover --recreate` makes the VM anew")
        if not volume.ours or not {names.tag("vm", ref.vm), names.tag("disk", ref.disk)} <= volume.tags:
            raise errors.NotOurs(what=what)
        if volume.overflowed:
            raise errors.BrokenSnapshot(volume=f"{ref.vg}/{ref.volume}")
        if volume.tag("reserve") or names.PARTIAL in volume.tags:
            raise errors.Busy(what=what, why="it is only half copied")
        if os.path.lexists(ref.link):
            if os.path.islink(ref.link) and os.path.normpath(os.readlink(ref.link)) == ref.device:
                return {"result": "there"}
            raise errors.NotOurs(what=ref.link)
        if not os.path.exists(ref.device):
            lvm.activate(host, ref.vg, ref.volume)
        host.publish(ref.device, ref.link)
    return {"result": "linked"}

"""activate: after a boot, every complete disk on this node is active and linked again, from LVM's tags alone.

A copy that was never finished is not: it has `vaf.partial`.  Of other disks nobody can tell whether the crash came
before they were ready, so a link that is made here leads to the volume by another spelling of its path: good for a
guest, but no proof of a finished disk for a PROLOG that is repeated, which then makes the disk anew (disks.py).
"""

from __future__ import annotations

import os
import re

from vafnebula import errors, log, names
from vafnebula.model import DiskRef, Settings
from vafnebula.model_moves import Activate
from vafnebula.node import disks, lvm
from vafnebula.node.host import Host

_GROUP = re.compile(r"vg-one-(\d+)")


def activate(host: Host, request: Activate, settings: Settings) -> dict[str, object]:
    """Activate and link.  Facts: disks that are here, how many of them had to be mended; what cannot be is logged."""
    if not os.path.isabs(request.root):
        raise errors.BadArgument(what="datastores", value=request.root, why="must be absolute")
    seen = mended = 0
    for vg in sorted(lvm.groups(host)):
        found = _GROUP.fullmatch(vg)
        for volume in lvm.group(host, vg).volumes if found else ():
            ref = _disk(volume, int(found[1]) if found else 0, request.root)
            if ref is None:
                continue
            seen += 1
            try:
                with disks.locked(settings, ref, "activate"):
                    mended += _mend(host, ref)
            except (errors.Error, OSError) as e:
                log.trouble("activate", volume=f"{vg}/{volume.name}", why=e)
    return {"disks": seen, "mended": mended}


def _disk(volume: lvm.Volume, sds: int, root: str) -> DiskRef | None:
    """The disk that a volume is, None for anything else and for one that is not good."""
    vm, disk = volume.tag("vm"), volume.tag("disk")
    if not (volume.ours and vm.isdigit() and disk.isdigit() and volume.name == names.disk_volume(int(vm), int(disk))):
        return None
    if names.PARTIAL in volume.tags or volume.overflowed:
        log.trouble("activate", volume=volume.name, why="it is not a whole disk")
        return None
    return DiskRef(int(vm), int(disk), int(volume.tag("seq") or 0), sds, f"{root}/{sds}/{vm}")


def _mend(host: Host, ref: DiskRef) -> bool:
    target = f"{names.DEVICES}/{ref.vg}/./{ref.volume}"
    linked = os.path.islink(ref.link) and os.readlink(ref.link) in (ref.device, target)
    if os.path.exists(ref.device) and linked:
        return False
    volume = lvm.group(host, ref.vg).find(ref.volume)
    if volume is None or names.PARTIAL in volume.tags:  # it has gone, or is made anew
        return False
    if os.path.lexists(ref.link) and not os.path.islink(ref.link):
        raise errors.NotOurs(what=f"{ref.link}, which is not a link,")
    if not os.path.exists(ref.device):
        lvm.activate(host, ref.vg, ref.volume)
    if not linked:
        host.publish(target, ref.link)
    return True

"""Classic snapshots near overflow: given more room while the volume group has it, reported when it has none.

With cow_percent = 100 none can overflow, and nothing is looked at.  Below that every disk that is made is an occasion
to look at the others, and whatever watches the node may call `watch` at any time.  Where LVM monitors its volumes,
snapshot_autoextend_threshold in lvm.conf does the same without waiting for an occasion.
"""

from __future__ import annotations

from vafnebula import errors, log
from vafnebula.model import Settings
from vafnebula.node import lvm
from vafnebula.node.host import Host

NEAR = 80.0  # percent of a snapshot's room from which it gets more
STEP = 5  # it gets a fifth more


def watch(host: Host, settings: Settings, vg: str) -> dict[str, str]:
    """Look at all classic snapshots of ours; volume -> extended, full (it needs room and there is none), overflowed."""
    if settings.mode != "thick" or settings.cow_percent >= 100:
        return {}
    found = {}
    for volume in lvm.group(host, vg).volumes:
        if not volume.ours or not volume.classic or (volume.data_percent < NEAR and not volume.overflowed):
            continue
        found[volume.name] = "overflowed" if volume.overflowed else _extend(host, vg, volume)
        log.event("guard", vg=vg, volume=volume.name, percent=volume.data_percent, result=found[volume.name])
    return found


def _extend(host: Host, vg: str, volume: lvm.Volume) -> str:
    try:
        lvm.extend(host, vg, volume.name, lvm.in_extents(volume.size + max(1, volume.size // STEP)))
    except errors.Error as e:
        log.trouble("guard", vg=vg, volume=volume.name, why=e)
        return "full"
    return "extended"

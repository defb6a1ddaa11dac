"""Classic snapshots near overflow: given more room while the volume group has it, reported when it has none.

With cow_percent = 100 none can overflow, and none is looked at.  Below that the probe that reports disks calls `watch`,
every 30 seconds: disks that nobody makes or changes are written, too.  Where LVM monitors its volumes,
snapshot_autoextend_threshold in lvm.conf does the same at once.
"""

from __future__ import annotations

from vafnebula import errors, log
from vafnebula.model import Settings
from vafnebula.node import lvm
from vafnebula.node.host import Host

NEAR = 80.0  # percent of a snapshot's room from which it gets more
STEP = 5  # it gets a fifth more


def watch(host: Host, settings: Settings, group: lvm.Group) -> dict[str, str]:
    """Look at all classic snapshots of ours; volume -> extended, full (it needs room and there is none), overflowed.

    Each one is a line in syslog, an overflowed one only in the result: nothing helps it any more.
    """
    if settings.mode != "thick" or settings.cow_percent >= 100:
        return {}
    found = {}
    for volume in (v for v in group.volumes if v.ours and v.classic):
        if volume.overflowed:
            found[volume.name] = "overflowed"
        elif volume.data_percent >= NEAR:
            found[volume.name] = _extend(host, group.name, volume)
    return found


def _extend(host: Host, vg: str, volume: lvm.Volume) -> str:
    try:
        lvm.extend(host, vg, volume.name, lvm.in_extents(volume.size + max(1, volume.size // STEP)))
    except errors.Error as e:
        log.trouble("guard", vg=vg, volume=volume.name, why=e)
        return "full"
    log.event("guard", vg=vg, volume=volume.name, percent=volume.data_percent, result="extended")
    return "extended"

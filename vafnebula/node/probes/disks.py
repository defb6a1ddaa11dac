"""disks: what each VM's disks and disk snapshots occupy, in MB, as monitor_ds prints it for directories:

    VM = [ ID = 7, MONITOR = "<base64>" ]        of DISK_SIZE=[ID=0,SIZE=412] and SNAPSHOT_SIZE=[ID=0,DISK_ID=0,SIZE=96]

A thin disk occupies what it maps, what it shares with its image included; a classic snapshot its changes; a plain
volume all of itself.  LVM does not know it of a thin volume that is not active: then the tag `vaf.holds` tells, or
nobody, and no size is printed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from vafnebula import names, units
from vafnebula.config import Site
from vafnebula.node import guard, lvm
from vafnebula.node.host import Host

_NAME = re.compile(r"lv-one-(?P<vm>[0-9]+)-(?P<disk>[0-9]+)(?:-s(?P<snap>[0-9]+))?")


def disks(host: Host, site: Site) -> str:
    """The lines of all VMs with disks on this node; classic snapshots near overflow get room.

    Raises SudoRefused, CommandFailed.
    """
    groups = [lvm.group(host, vg) for vg in sorted(lvm.groups(host))]
    for group in groups:
        guard.watch(host, site.storage(names.sds_of(group.name)), group)
    return lines(v for group in groups for v in group.volumes)


def lines(volumes: Iterable[lvm.Volume]) -> str:
    """A line per VM.  Pure."""
    sizes: dict[int, list[str]] = {}
    for volume in volumes:
        found, used = _NAME.fullmatch(volume.name), occupied(volume)
        if volume.ours and found and used is not None:
            mib, disk = -(-used // units.MIB), found["disk"]
            known = f"DISK_SIZE=[ID={disk},SIZE={mib}]"
            if found["snap"] is not None:
                known = f"SNAPSHOT_SIZE=[ID={found['snap']},DISK_ID={disk},SIZE={mib}]"
            sizes.setdefault(int(found["vm"]), []).append(known)
    return "".join(_line(vm, known) for vm, known in sorted(sizes.items()))


def _line(vm: int, known: list[str]) -> str:
    text = base64.b64encode("".join(f"{size}\n" for size in known).encode()).decode()
    return f'VM = [ ID = {vm}, MONITOR = "{text}" ]\n'


def occupied(volume: lvm.Volume) -> int | None:
    """Bytes, None when nobody knows."""
    if volume.kind == "thin":
        if volume.active:
            return int(volume.size * volume.data_percent / 100)
        return int(volume.tag("holds")) if volume.tag("holds") else None
    return int(volume.size * volume.data_percent / 100) if volume.attr[0:1] in ("s", "S") else volume.size

"""How much the disks and disk snapshots of each VM occupy, in the words of OpenNebula's probe of VMs."""

from __future__ import annotations

import base64

from vafnebula import errors, names, units
from vafnebula.node import lvm
from vafnebula.node.host import Host


def report(host: Host, directory: str) -> str:
    """A line `VM = [ ID=V, MONITOR="..." ]` per VM of system datastore `<root>/<SDS>`; nothing without a VG.

    Decoded, MONITOR has `DISK_SIZE=[ID=N,SIZE=MB]` and `SNAPSHOT_SIZE=[ID=S,DISK_ID=N,SIZE=MB]`, a line each.
    """
    sds = names.identifier("datastore", directory.rstrip("/").rpartition("/")[2])
    try:
        volumes = lvm.group(host, names.vg(sds)).volumes
    except errors.NoVolumeGroup:
        return ""
    found: dict[int, list[str]] = {}
    for volume in sorted(volumes, key=lambda v: v.name):
        vm, disk, snapshot = (volume.tag(what) for what in ("vm", "disk", "snap"))
        if volume.ours and vm.isdigit() and disk.isdigit():
            size = -(-used(volume) // units.MIB)
            line = f"SNAPSHOT_SIZE=[ID={snapshot},DISK_ID={disk},SIZE={size}]" if snapshot else ""
            found.setdefault(int(vm), []).append(line or f"DISK_SIZE=[ID={disk},SIZE={size}]")
    return "".join(f'VM = [ ID={vm}, MONITOR="{_encoded(lines)}" ]\n' for vm, lines in sorted(found.items()))


def used(volume: lvm.Volume) -> int:
    """Bytes that a volume occupies: what was written to it, where LVM knows that."""
    return int(volume.size * volume.data_percent / 100) if volume.kind == "thin" else volume.size


def _encoded(lines: list[str]) -> str:
    return base64.b64encode("".join(f"{line}\n" for line in lines).encode()).decode()

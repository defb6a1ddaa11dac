"""The story of one disk: where it is, from which image, how it got there, and what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from vafnebula import errors, names, units
from vafnebula.admin.views import Group, View, Volume, leads_to
from vafnebula.one import pools


class NoSuchVm(errors.RequestError):
    sentence = "OpenNebula has no VM {vm}; see `onevm list`"


class NoSuchDisk(errors.RequestError):
    sentence = "VM {vm} has no disk {disk} on LVM: {why}"


@dataclass(frozen=True)
class Story:
    """What is known of a disk.  `lines` tell it to a person; sizes in bytes, `made` in epoch seconds, 0 for unknown."""

    vm: int
    disk: int
    host: str
    sds: int
    link: str
    target: str
    volume: str
    kind: str
    image: str
    origin: str
    size: int
    data_percent: float
    made: int
    lines: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def story(view: View, vm: pools.Vm, disk: int, root: str) -> Story:
    """Tell it from the VM's record and what its node said.  Raises NoSuchDisk."""
    if vm.sds < 0:
        raise NoSuchDisk(vm=vm.id, disk=disk, why="it never ran")
    if disk not in vm.disks:
        have = ", ".join(map(str, sorted(vm.disks))) or "none"
        raise NoSuchDisk(vm=vm.id, disk=disk, why=f"its record has {have}; the context CD is a file")
    group = view.groups.get(vm.sds)
    if group is None:
        raise NoSuchDisk(vm=vm.id, disk=disk, why=f"{view.host} has no volume group {names.vg(vm.sds)}")
    name = names.disk_volume(vm.id, disk)
    volume, target = group.find(name), view.links.get((vm.sds, vm.id, disk))
    lines = [
        f"disk {disk} of VM {vm.id} ({vm.name}) is on {view.host}, in system datastore {vm.sds}",
        *_record(vm.disks[disk]),
        *_link(f"{root}/{vm.sds}/{vm.id}/disk.{disk}", target, names.device(names.vg(vm.sds), name)),
        *(_volume(group, volume, vm) if volume else [f"volume {names.vg(vm.sds)}/{name} does not exist: run fsck"]),
    ]
    origin = group.find(volume.source) if volume and volume.source else None
    return Story(
        vm=vm.id,
        disk=disk,
        host=view.host,
        sds=vm.sds,
        link=f"{root}/{vm.sds}/{vm.id}/disk.{disk}",
        target=target or "",
        volume=name if volume else "",
        kind=volume.kind if volume else "",
        image=origin.tag("image") if origin else vm.disks[disk].get("SOURCE", ""),
        origin=origin.name if origin else "",
        size=int(volume.tag("size") or volume.size) if volume else 0,
        data_percent=volume.data_percent if volume else 0.0,
        made=volume.created if volume else 0,
        lines=tuple(lines),
    )


def _record(disk: Mapping[str, str]) -> list[str]:
    get = disk.get
    if get("IMAGE_ID"):
        how = "a clone" if get("CLONE") == "YES" else "persistent: written back when the VM ends"
        return [f"OpenNebula says: image {get('IMAGE', '')} ({get('IMAGE_ID')}), {how}, {get('SIZE', '?')} MB"]
    return [f"OpenNebula says: volatile, {get('TYPE', '?')} {get('FS') or get('FORMAT') or ''}, {get('SIZE', '?')} MB"]


def _link(link: str, target: str | None, device: str) -> list[str]:
    if target is None:
        return [f"{link} is missing: run fsck"]
    if not leads_to(target, device):
        return [f"{link} points to {target or 'nothing'} instead of {device}: run fsck"]
    return [f"{link} -> {device}"]


def _volume(group: Group, volume: Volume, vm: pools.Vm) -> list[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(volume.created))
    if not volume.ours:
        return [f"volume {volume.name} was not made by vafnebula"]
    size = int(volume.tag("size") or volume.size)
    lines = [f"volume {volume.name}: {volume.kind}, {units.human(size)}, {volume.data_percent:g} % mapped"]
    asked = volume.tag("seq")
    if asked == str(vm.seq):
        lines.append(f"made {when}, for history record {asked}, where the VM is now")
    else:
        lines.append(f"made {when}, for history record {asked or '?'}; the VM is at record {vm.seq} by now")
    if volume.overflowed:
        lines.append("its room for changes ran out: its content is lost")
    snapshots = [v.name for v in group.volumes if v.what == "snapshot" and (v.vm, v.disk) == (volume.vm, volume.disk)]
    if snapshots:
        lines.append(f"disk snapshots and backups of it: {', '.join(sorted(snapshots))}")
    return [*lines, *_origin(group, volume)]


def _origin(group: Group, volume: Volume) -> list[str]:
    origin = group.find(volume.source) if volume.source else None
    if origin is not None and origin.what == "origin":
        others = len(group.made_of(origin.name)) - 1
        pinned = ", pinned" if names.PINNED in origin.tags else ""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(origin.created))
        return [
            f"a snapshot of {origin.name}{pinned}: image {origin.tag('image')}, copied here {when}",
            f"fingerprint of that image file (size.mtime.inode): {origin.tag('print')}",
            f"{others} other volumes are made of it",
        ]
    if volume.tag("format"):
        return ["a full copy of a persistent image"]
    return ["no image is behind it on this node"]

"""What is on the nodes, compared with what OpenNebula says.

Nodes are looked at first and OpenNebula is asked afterwards: a VM's record is there before its first volume, so a
volume whose VM nobody knows was not just made.  A finding has a repair only if what is repaired carries our tag, and
if nothing that somebody may want can be lost by it: a volume goes when OpenNebula itself says that its VM is DONE, and
then not if it is the copy of a persistent image.  Every repair is a deed that takes the locks and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vafnebula import names
from vafnebula.admin.views import Group, View, Volume, leads_to
from vafnebula.model import Delete, DiskRef
from vafnebula.model_admin import Relink, Settle
from vafnebula.one import pools

LEFT = ("-saveas", "-backup", "-revert", "-old", "-spare")  # of what lasts as long as an action (names.py)
AWAY = "the next action on that disk, or its end, takes it away"
Lookup = Callable[[int], "pools.Vm | None"]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.  `repair` is the order that mends it, None if a person must decide."""

    host: str
    kind: str
    what: str
    why: str
    advice: str = ""
    repair: Any = None


def findings(views: Iterable[View], live: Iterable[pools.Vm], lookup: Lookup, root: str) -> list[Finding]:
    """Compare.  `live` are the VMs that are not DONE, `lookup` asks OpenNebula for one that is not among them."""
    vms: dict[int, pools.Vm | None] = {vm.id: vm for vm in live}

    def vm_of(number: int) -> pools.Vm | None:
        if number not in vms:
            vms[number] = lookup(number)
        return vms[number]

    known = list(views)
    found: list[Finding] = []
    for view in known:
        for group in view.groups.values():
            found += _volumes(view, group, vm_of, root)
        found += _directories(view, vm_of, root)
    by_host = {view.host: view for view in known}
    for vm in filter(None, list(vms.values())):
        if vm.state != pools.DONE and vm.steady and vm.host in by_host:
            found += _lost(by_host[vm.host], vm, root)
    return found


def _volumes(view: View, group: Group, vm_of: Lookup, root: str) -> Iterator[Finding]:
    vg = names.vg(group.sds)
    done: set[int] = set()
    for volume in group.volumes:
        what = f"{vg}/{volume.name}"
        if volume.what == "foreign":
            yield Finding(view.host, "foreign", what, "it does not carry our tag: left alone")
        elif volume.what == "fill" and not volume.busy:
            state = "complete, but its name says otherwise" if names.COMPLETE in volume.tags else "half filled"
            why = f"{state}; image {volume.tag('image')}"
            yield Finding(view.host, "half-filled", what, why, repair=Settle(group.sds, volume.key))
        elif volume.overflowed:
            advice = "delete the VM, and raise cow_percent"
            yield Finding(view.host, "overflowed", what, "its room for changes ran out, its content is lost", advice)
        elif volume.what in ("disk", "snapshot") and volume.vm >= 0:
            yield from _of_vm(view, group, volume, vm_of(volume.vm), root, done)


def _of_vm(
    view: View, group: Group, volume: Volume, vm: pools.Vm | None, root: str, done: set[int]
) -> Iterator[Finding]:
    what, number = f"{names.vg(group.sds)}/{volume.name}", volume.vm
    directory = f"{root}/{group.sds}/{number}"
    if vm is None:
        advice = "if no other OpenNebula uses this node: lvremove it"
        yield Finding(view.host, "unknown", what, f"OpenNebula has no record of VM {number}: left alone", advice)
    elif vm.state == pools.DONE:
        if number not in done:
            done.add(number)
            yield _orphans(view, group, number, directory)
    elif vm.steady and (vm.host, vm.sds) != (view.host, group.sds):
        where = f"VM {number} is on {vm.host}, system datastore {vm.sds}"
        yield Finding(view.host, "stray", what, where, "left by a migration? compare both, then lvremove this one")
    elif vm.steady and names.PARTIAL in volume.tags:
        yield Finding(view.host, "leftover", what, f"a copy of a disk of VM {number} that was cut off", AWAY)
    elif vm.steady and volume.ending in LEFT and group.find(names.disk_volume(number, volume.disk)):
        why = f"an action on disk {volume.disk} of VM {number} was cut off"
        yield Finding(view.host, "leftover", what, why, AWAY)
    elif vm.steady and volume.what == "disk" and volume.disk not in vm.disks:
        if volume.tag("format"):
            yield _unsaved(view.host, what, f"VM {number} has no disk {volume.disk} any more")
        else:
            repair = Delete(number, volume.disk, group.sds, directory)
            yield Finding(view.host, "orphan", what, f"VM {number} has no disk {volume.disk} any more", repair=repair)
    elif vm.steady and volume.what == "disk":
        target = view.links.get((group.sds, number, volume.disk))
        if target is None:
            ref = DiskRef(number, volume.disk, vm.seq, group.sds, directory)
            why = f"disk.{volume.disk} of VM {number} is missing"
            yield Finding(view.host, "lost link", what, why, repair=Relink(ref))
        elif not leads_to(target, names.device(names.vg(group.sds), volume.name)):
            why = f"{directory}/disk.{volume.disk} is {f'a link to {target}' if target else 'not a link'}"
            yield Finding(view.host, "wrong link", what, why, "look who made it; remove it, and run fsck again")


def _orphans(view: View, group: Group, number: int, directory: str) -> Finding:
    """All that is left of a VM that is DONE, in one finding: it goes by one order."""
    mine = [v for v in group.volumes if v.vm == number and v.ours]
    what = ", ".join(f"{names.vg(group.sds)}/{v.name}" for v in mine)
    if any(v.tag("format") for v in mine):
        return _unsaved(view.host, what, f"VM {number} is DONE")
    return Finding(view.host, "orphan", what, f"VM {number} is DONE", repair=Delete(number, -1, group.sds, directory))


def _unsaved(host: str, what: str, why: str) -> Finding:
    advice = "the copy of a persistent image, perhaps newer than the image: look at both, then lvremove it"
    return Finding(host, "orphan", what, why, advice)


def _directories(view: View, vm_of: Lookup, root: str) -> Iterator[Finding]:
    """Directories of VMs that are DONE and have no volume left."""
    with_volumes = {(g.sds, v.vm) for g in view.groups.values() for v in g.volumes if v.ours}
    for sds, number in sorted({(sds, vm) for sds, vm, _ in view.links}):
        if (sds, number) in with_volumes:
            continue
        vm = vm_of(number)
        if vm is not None and vm.state == pools.DONE:
            place = f"{root}/{sds}/{number}"
            repair = Delete(number, -1, sds, place)
            yield Finding(view.host, "orphan", place, f"VM {number} is DONE", repair=repair)


def _lost(view: View, vm: pools.Vm, root: str) -> Iterator[Finding]:
    """Disks that the VM's node should have."""
    group = view.groups.get(vm.sds)
    if group is None:
        return
    for number, disk in vm.disks.items():
        volume = names.disk_volume(vm.id, number)
        if disk.get("TM_MAD", "") not in ("", pools.DRIVER) or group.find(volume) is not None:
            continue
        if group.find(f"{volume}-old") is not None:
            directory = f"{root}/{vm.sds}/{vm.id}"
            repair = Relink(DiskRef(vm.id, number, vm.seq, vm.sds, directory))
            why = f"a revert of disk {number} of VM {vm.id} was cut off; the disk is {volume}-old"
            yield Finding(view.host, "lost volume", f"{names.vg(vm.sds)}/{volume}", why, repair=repair)
        else:
            yield Finding(
                view.host, "lost volume", f"{names.vg(vm.sds)}/{volume}", f"disk {number} of VM {vm.id} is not there",
                f"onevm recover --recreate {vm.id} makes the VM anew, without its changes",
            )  # fmt: skip


def summary(found: Iterable[Finding]) -> Mapping[str, int]:
    """How many of each kind."""
    counts: dict[str, int] = {}
    for finding in found:
        counts[finding.kind] = counts.get(finding.kind, 0) + 1
    return counts

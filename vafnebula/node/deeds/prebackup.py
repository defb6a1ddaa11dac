"""prebackup: a VM's disks as files below <place>, for OpenNebula's backup datastore drivers to carry away.

    disk.<N>.0         a full backup: qcow2
    disk.<N>.<I>       increment I: qcow2 that holds the changed clusters alone, also those that became zero;
                       OpenNebula's drivers put it on top of I-1 (`qemu-img rebase -u`) when they restore
    vm.xml             the VM's record, in base64

In mode thin all disks are snapshotted first, one LVM command each, and the files are made from the snapshots while the
VM runs on.  For incremental backups the snapshot stays (-b<I>): the next increment is what thin_delta finds between it
and then.  The one that I-1 left stays too, until OpenNebula says that it has I: a backup that failed can be repeated.
In mode thick there are full backups only, of a VM that does not run.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from vafnebula import errors, names, units
from vafnebula.model import DiskRef, Settings
from vafnebula.model_points import PreBackup
from vafnebula.node import blockcopy, disks, imagefile, lvm, points, room, source, thin
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def prebackup(host: Host, request: PreBackup, settings: Settings) -> dict[str, object]:
    """Make the files.  Facts: bytes of the disks that were looked at.

    Raises NeedsThin, NotFound (a disk, or what the last increment left), NoDelta, Busy, NoRoom, CopyFailed: nothing is
    left then.
    """
    disks.require_place(request.directory, request.sds, request.vm)
    disks.require_backup_place(request.place, request.vm)
    refs = [DiskRef(request.vm, n, -1, request.sds, request.directory) for n in sorted(request.disks)]
    with ExitStack() as locks, Undo() as undo:
        held = [locks.enter_context(disks.locked(settings, ref, "prebackup")) for ref in refs]
        group = lvm.group(host, names.vg(request.sds))
        volumes = [points.require_disk(host, ref, group) for ref in refs]
        for ref, volume in zip(refs, volumes):
            _require_possible(request, ref, volume, group)
        room.require_metadata(group, settings)
        undo.push(request.place, partial(host.remove_tree, request.place))
        host.remove_tree(request.place)
        host.make_directory(request.place)
        host.write_file(f"{request.place}/vm.xml", request.record.encode())
        taken = [_freeze(host, settings, request, ref, volume, undo) for ref, volume in zip(refs, volumes)]
        for ref, volume, name, fd in zip(refs, volumes, taken, held):
            _export(host, settings, request, ref, points.content(volume), name, fd)
        for ref, name in zip(refs, taken):
            _put_away(host, request, ref, name, group)
        undo.commit()
    return {"bytes": sum(points.content(v) for v in volumes)}


def _require_possible(request: PreBackup, ref: DiskRef, volume: lvm.Volume, group: lvm.Group) -> None:
    if volume.kind != "thin" and (request.live or request.keep):
        raise errors.NeedsThin(what="a backup of a running VM, or an incremental one,", sds=ref.sds)
    if volume.kind != "thin" and volume.open:
        raise errors.Busy(what=f"volume {ref.vg}/{ref.volume}", why="the VM still runs, or something reads it")
    if request.increment > 0 and group.find(_base(ref, request.increment - 1)) is None:
        what = f"what increment {request.increment - 1} left of disk {ref.disk} on this node"
        raise errors.NotFound(what=what, advice="make a full backup: `onevm backup --reset`")


def _base(ref: DiskRef, increment: int) -> str:
    return names.backup_base(ref.vm, ref.disk, increment)


def _freeze(host: Host, settings: Settings, request: PreBackup, ref: DiskRef, volume: lvm.Volume, undo: Undo) -> str:
    """The name of the volume to read: a snapshot in mode thin, the disk itself in mode thick."""
    if volume.kind != "thin":
        points.require_active(host, ref)
        return ref.volume
    name = _base(ref, request.increment) if request.keep else f"{ref.volume}-backup"
    more = [names.tag("increment", request.increment)] if request.keep else []
    own = points.tags(host, ref, volume, *more)
    undo.push(name, partial(lvm.remove, host, ref.vg, points.mine(host, name)))
    points.afresh(host, ref, name, lambda: points.take(host, settings, ref, volume, name, own))
    lvm.activate(host, ref.vg, name)
    return name


def _export(
    host: Host, settings: Settings, request: PreBackup, ref: DiskRef, size: int, name: str, lock_fd: int
) -> None:
    path, device = f"{request.place}/disk.{ref.disk}.{request.increment}", names.device(ref.vg, name)
    size = units.round_up(size, 512)  # qemu counts in sectors; the volume has them
    if request.increment == 0:
        host.prepare_file(path, imagefile.NEW)
        blockcopy.save(host, device, size, path, source.QCOW2, [lock_fd])
        blockcopy.compare(host, path, source.QCOW2, device, size, [lock_fd])
        return
    changed = thin.differing(host, settings, ref.vg, _base(ref, request.increment - 1), name)
    if changed is None:
        raise errors.NoDelta(vg=ref.vg)
    blockcopy.save_ranges(host, device, size, path, changed, [lock_fd])


def _put_away(host: Host, request: PreBackup, ref: DiskRef, name: str, group: lvm.Group) -> None:
    """A snapshot for this backup alone goes, one for the next stays inactive; older ones go."""
    if name == ref.volume:
        return
    if not request.keep:
        lvm.remove(host, ref.vg, points.mine(host, name))
        return
    lvm.deactivate(host, ref.vg, name)
    needed = {name, _base(ref, request.increment - 1)}
    for old in group.of_disk(ref.vm, ref.disk):
        if old.tag("increment") and old.name not in needed:
            lvm.remove(host, ref.vg, lvm.by_name(old.name))

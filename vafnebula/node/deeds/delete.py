"""delete: one disk, or a VM's directory with every volume of the VM.

Nothing there is success.  Volumes are found by tag, so a link that is gone does not matter, and a disk's snapshots go
with it; one that does not carry our tag is not touched.  An action still at work on the disk is asked to stop first:
OpenNebula cancels a clone by forgetting it, and sends the delete at once.
"""

from __future__ import annotations

import os

from vafnebula import errors
from vafnebula.model import Delete, DiskRef, Settings
from vafnebula.node import disks, lock, lvm
from vafnebula.node.host import Host


def delete(host: Host, request: Delete, settings: Settings) -> dict[str, object]:
    """Remove.  Raises Busy when a volume stays in use, SystemRefused when a file cannot be removed."""
    disks.require_place(request.directory, request.sds, request.vm)
    if request.disk < 0:
        _directory(host, request, settings)
    else:
        ref = DiskRef(request.vm, request.disk, 0, request.sds, request.directory)
        lock.interrupt(settings.lock_dir, disks.disk_lock(ref.vm, ref.disk))
        with disks.locked(settings, ref, "delete"):
            _volumes(host, ref.vg, lvm.by_disk(ref.vm, ref.disk))
            host.unlink(ref.link)
    return {}


def _directory(host: Host, request: Delete, settings: Settings) -> None:
    for name in _disk_locks(settings.lock_dir, request.vm):
        lock.interrupt(settings.lock_dir, name)
    what = f"delete of VM {request.vm}"
    with lock.hold(settings.lock_dir, disks.vm_lock(request.vm), what, wait=settings.lock_wait):
        vg = DiskRef(request.vm, 0, 0, request.sds, request.directory).vg
        _volumes(host, vg, lvm.by_tag("vm", request.vm))
        host.remove_tree(request.directory)


def _disk_locks(directory: str, vm: int) -> list[str]:
    """Names of the disk locks of a VM that exist."""
    head, tail = f"vafnebula-{disks.disk_lock(vm, 0)[:-1]}", ".lock"
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return [n[len("vafnebula-") : -len(tail)] for n in names if n.startswith(head) and n.endswith(tail)]


def _volumes(host: Host, vg: str, select: str) -> None:
    try:
        lvm.remove(host, vg, select)
    except errors.NoVolumeGroup:
        return  # this node never held a disk of the datastore, so nothing of the VM is here

"""failmigrate: what premigrate made here goes; LVM keeps whatever is in use."""

from __future__ import annotations

from vafnebula import errors
from vafnebula.model import DiskRef, Settings
from vafnebula.model_moves import Failmigrate
from vafnebula.node import disks, lock, lvm
from vafnebula.node.host import Host


def failmigrate(host: Host, request: Failmigrate, settings: Settings) -> dict[str, object]:
    """Remove the VM's volumes of history record `seq`, and its directory.  Nothing there is success.  Raises Busy."""
    disks.require_place(request.directory, request.sds, request.vm)
    vg = DiskRef(request.vm, 0, request.seq, request.sds, request.directory).vg
    what, name = f"failmigrate of VM {request.vm}", disks.vm_lock(request.vm)
    with lock.hold(settings.lock_dir, name, what, wait=settings.lock_wait):
        try:
            lvm.remove(host, vg, f"{lvm.by_tag('vm', request.vm)} && {lvm.by_tag('seq', request.seq)}")
        except errors.NoVolumeGroup:
            return {}
        host.remove_tree(request.directory)
    return {}

"""drop: the VM lives elsewhere now; its volumes and its directory go, if all of them have been copied."""

from __future__ import annotations

from contextlib import nullcontext

from vafnebula import errors
from vafnebula.model import DiskRef, Settings
from vafnebula.model_moves import Drop
from vafnebula.node import disks, lock, lvm, parts
from vafnebula.node.host import Host


def drop(host: Host, request: Drop, settings: Settings) -> dict[str, object]:
    """Remove.  Nothing there is success.  Raises NotCopied before anything is changed, Busy when one is in use."""
    disks.require_place(request.directory, request.sds, request.vm)
    vg = DiskRef(request.vm, 0, 0, request.sds, request.directory).vg
    what, name = f"drop of VM {request.vm}", disks.vm_lock(request.vm)
    with nullcontext() if request.held else lock.hold(settings.lock_dir, name, what, wait=settings.lock_wait):
        try:
            volumes = lvm.group(host, vg).volumes
        except errors.NoVolumeGroup:
            volumes = ()
        mine = [v.name for v in volumes if v.ours and v.tag("vm") == str(request.vm)]
        for volume in mine:
            if parts.lasting(request.vm, -1, volume, "s") and volume not in request.copied:
                raise errors.NotCopied(what=f"volume {vg}/{volume}", vm=request.vm)
        if mine:
            lvm.remove(host, vg, lvm.by_tag("vm", request.vm))
        host.remove_tree(request.directory)
    return {"volumes": len(mine)}

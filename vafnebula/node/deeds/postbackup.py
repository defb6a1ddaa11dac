"""postbackup: nothing of a backup stays on the node but the snapshots from which the next increment is told.

OpenNebula calls it after the backup and after one that failed, 7.4 with word of that; then the failed one's snapshot
goes at once, elsewhere with the next backup.
"""

from __future__ import annotations

from contextlib import ExitStack

from vafnebula import errors
from vafnebula.model import DiskRef, Settings
from vafnebula.model_points import PostBackup
from vafnebula.node import disks, lock, lvm
from vafnebula.node.host import Host


def postbackup(host: Host, request: PostBackup, settings: Settings) -> dict[str, object]:
    """Clean up.  Raises Busy, SystemRefused."""
    disks.require_place(request.directory, request.sds, request.vm)
    disks.require_backup_place(request.place, request.vm)
    refs = [DiskRef(request.vm, n, -1, request.sds, request.directory) for n in sorted(request.disks)]
    for ref in refs:  # a backup that was cancelled goes on by itself
        lock.interrupt(settings.lock_dir, disks.disk_lock(ref.vm, ref.disk), only="prebackup")
    with ExitStack() as locks:
        for ref in refs:
            locks.enter_context(disks.locked(settings, ref, "postbackup"))
        for ref in refs:
            _snapshots(host, ref, request.last if request.failed else None)
        host.remove_tree(request.place)
    return {}


def _snapshots(host: Host, ref: DiskRef, last: int | None) -> None:
    """Remove a disk's snapshot for one backup alone and, with `last`, those of increments after it."""
    try:
        mine = lvm.group(host, ref.vg).of_disk(ref.vm, ref.disk)
    except errors.NoVolumeGroup:
        return
    for volume in mine:
        failed = last is not None and volume.tag("increment") and int(volume.tag("increment")) > last
        if failed or volume.name == f"{ref.volume}-backup":
            lvm.remove(host, ref.vg, lvm.by_name(volume.name))

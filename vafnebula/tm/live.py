"""Live migration with storage copy: what its three actions share.

OpenNebula calls the system datastore's driver only; that one calls the other drivers of the VM's disks, with its own
name as one more argument, so that they do not call others in turn.
"""

from __future__ import annotations

import os
import sys

from vafnebula import errors, process
from vafnebula.config import Site
from vafnebula.model_moves import Place
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call

OURS = "fs_lvm_snap"
COPIES = b"vg-one"  # in OpenNebula's kvm/migrate since 7.2: disks that are links to /dev/vg-one* are copied


def require_copying(call: Call) -> None:
    """Raises CannotMigrate unless this OpenNebula copies disks on LVM: 6.10 and 7.0 would leave them behind."""
    path = f"{call.remotes}/vmm/kvm/migrate"
    try:
        with open(path, "rb") as f:  # noqa: PTH123
            copies = COPIES in f.read()
    except OSError as e:
        raise errors.SystemRefused(path=path, why=e.strerror) from e
    if not copies:
        why = "this OpenNebula does not copy disks on LVM in a live migration"
        raise errors.CannotMigrate(why=why, advice="migrate without --live, or upgrade to 7.2 or newer")


def others(call: Call, vm: Vm) -> None:
    """Call the same action of the other drivers of the VM's disks.  Raises CannotMigrate with what one of them said."""
    if call.caller:
        return
    template = sys.stdin.buffer.read()
    arguments = [call.from_host, call.host, call.directory, str(call.vm), str(call.sds), OURS]
    for driver in sorted(vm.drivers - {OURS}):
        stub = f"{call.remotes}/tm/{driver}/{call.verb}"
        if not os.access(stub, os.X_OK):
            raise errors.CannotMigrate(why=f"driver {driver} has no {call.verb}", advice="migrate without --live")
        done = process.run([stub, *arguments], timeout=None, input=template, check=False)
        if done.code != 0:
            raise errors.CannotMigrate(why=f"driver {driver}: {done.why}", advice="see what that driver needs")


def source(call: Call, vm: Vm, site: Site) -> Place:
    """Where the VM comes from: the host that is named, and the datastore of its history record before the last."""
    host, sds = call.from_host, call.sds
    for _, name, where in vm.history[:-1]:
        if name == host:
            sds = where
    directory = f"{call.root}/{sds}/{call.vm}"
    if (host, directory) == (call.host, call.directory):
        raise errors.BadArgument(what="destination", value=host, why="it is where the VM comes from")
    return reference.source(call, sds, directory, site)

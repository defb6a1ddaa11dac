"""postmigrate: the VM runs here; the node that it came from removes it."""

from __future__ import annotations

from vafnebula import __version__
from vafnebula.model import Order, Settings
from vafnebula.model_moves import Drop, Postmigrate
from vafnebula.node import disks, lock
from vafnebula.node.deeds import mv
from vafnebula.node.host import Host


def postmigrate(host: Host, request: Postmigrate, settings: Settings) -> dict[str, object]:
    """Have the source drop the VM.  Raises NotCopied when a volume of it is not here, Busy, Unreachable."""
    disks.require_place(request.directory, request.sds, request.vm)
    place, what = request.source, f"postmigrate of VM {request.vm}"
    with lock.hold(settings.lock_dir, disks.vm_lock(request.vm), what, wait=settings.lock_wait):
        here = mv.complete(host, request.vm, request.seq, request.sds)
        drop = Drop(request.vm, -1, place.sds, place.directory, here, not place.host)
        return dict(host.ask(place, Order(__version__, drop, settings)).facts)

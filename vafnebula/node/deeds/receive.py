"""receive: a disk that was kept on the front-end comes back, then the rest of the VM's directory."""

from __future__ import annotations

from vafnebula import errors, wire
from vafnebula.model import DiskRef, Settings
from vafnebula.model_moves import Part, Receive
from vafnebula.node import arrivals, disks, lock
from vafnebula.node.deeds import mv
from vafnebula.node.host import Host


def receive(host: Host, request: Receive, settings: Settings) -> dict[str, object]:
    """Take what comes behind the order.  Facts: result, bytes; for the directory `copied`, the volumes that are here.

    Each header of a disk's stream is a Part (parts.py).  Raises as mv does.
    """
    disks.require_place(request.directory, request.sds, request.vm)
    reader = wire.Reader(host.incoming())
    if request.disk < 0:
        what = f"mv of VM {request.vm}"
        with lock.hold(settings.lock_dir, disks.vm_lock(request.vm), what, wait=settings.lock_wait):
            mv.take_files(host, reader, request.directory)
            copied = mv.complete(host, request.vm, request.seq, request.sds)
        return {"result": "moved", "copied": copied, "bytes": reader.bytes}
    ref = DiskRef(request.vm, request.disk, request.seq, request.sds, request.directory)
    with disks.locked(settings, ref, "mv"):
        if arrivals.arrived(host, ref):
            return {"result": "there"}
        with arrivals.Arrival(host, settings, ref) as arrival:
            arrivals.clear(host, ref)
            head = reader.next()
            while head is not None:
                [part] = Part.parsed([head])
                if arrival.make(part):
                    raise errors.CopyFailed(source=part.name, why="it came as changes to a base")
                arrival.take(part, "", reader)
                head = reader.next()
            arrival.finish()
        return {"result": "moved", **arrival.facts}

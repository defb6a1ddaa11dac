"""mv: fetch a disk from another node (or from another datastore of this one), then the rest, and let the source go.

OpenNebula sends a line per disk and one for the directory, last.  `recover --failure` in between starts the VM where it
was, with no script run: so a disk is only copied, and the directory's line removes the source, when everything is here.
"""

from __future__ import annotations

from vafnebula import __version__, errors, wire
from vafnebula.model import DiskRef, Order, Settings
from vafnebula.model_moves import Drop, Move, Offer, Part, Send
from vafnebula.node import arrivals, disks, lock, lvm
from vafnebula.node.host import Host


def mv(host: Host, request: Move, settings: Settings) -> dict[str, object]:
    """Fetch.  Facts: result moved/there, base used, bytes on the wire.

    Raises NotFound (the source has no such disk), Unreachable, CopyFailed, NoRoom, Busy, NotOurs, NotCopied, ...; the
    source is then as it was.
    """
    disks.require_place(request.directory, request.sds, request.vm)
    if request.disk < 0:
        return _directory(host, request, settings)
    ref = DiskRef(request.vm, request.disk, request.seq, request.sds, request.directory)
    with disks.locked(settings, ref, "mv"):
        if arrivals.arrived(host, ref):
            return {"result": "there"}
        return {"result": "moved", **_disk(host, request, settings, ref)}


def _disk(host: Host, request: Move, settings: Settings, ref: DiskRef) -> dict[str, object]:
    place, held = request.source, not request.source.host
    offer = Offer(ref.vm, ref.disk, place.sds, place.directory, held)
    found = Part.parsed(host.ask(place, Order(__version__, offer, settings)).facts.get("parts"))
    with arrivals.Arrival(host, settings, ref) as arrival:
        arrivals.clear(host, ref)
        bases = [arrival.parent(part, found[:n]) or arrival.make(part) for n, part in enumerate(found)]
        arrival.fetch(place, list(zip(found, bases)))
        arrival.finish()
    return arrival.facts


def _directory(host: Host, request: Move, settings: Settings) -> dict[str, object]:
    place, held = request.source, not request.source.host
    what = f"mv of VM {request.vm}"
    with lock.hold(settings.lock_dir, disks.vm_lock(request.vm), what, wait=settings.lock_wait):
        send = Send(request.vm, -1, place.sds, place.directory, [], [], held)
        with host.converse(place, Order(__version__, send, settings)) as other:
            reader = wire.Reader(other.out)
            take_files(host, reader, request.directory)
            other.reply(reader.last)
        here = complete(host, request.vm, request.seq, request.sds)
        drop = Drop(request.vm, -1, place.sds, place.directory, here, held)
        host.ask(place, Order(__version__, drop, settings))
    return {"result": "moved", "bytes": reader.bytes}


def take_files(host: Host, reader: wire.Reader, directory: str) -> None:
    """Put all files that come below `directory`."""
    head = reader.next()
    while head is not None:
        host.take_file(reader, head, directory)
        head = reader.next()


def complete(host: Host, vm: int, seq: int, sds: int) -> list[str]:
    """Names of the VM's volumes that are here, complete, for history record `seq`."""
    try:
        group = lvm.group(host, DiskRef(vm, 0, seq, sds, "").vg)
    except errors.NoVolumeGroup:
        return []
    return sorted(v.name for v in group.volumes if arrivals.is_of(v, vm, seq))

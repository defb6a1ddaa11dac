"""premigrate: volumes of the right name and size, and links to them, for libvirt's storage copy.

libvirt writes every block of a disk, so a snapshot of an origin would win nothing, and a classic one could overflow.
What it does not copy is copied here and now: read-only disks, and disk snapshots, which the running VM does not touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from vafnebula import __version__, names
from vafnebula.model import DiskRef, Order, Settings
from vafnebula.model_moves import Offer, Part, Premigrate
from vafnebula.node import arrivals, disks, lvm, parts
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def premigrate(host: Host, request: Premigrate, settings: Settings) -> dict[str, object]:
    """Make them.  Facts: volumes, bytes of them.  Raises CannotMigrate (snapshots into mode thick), NoRoom, Busy, ...

    What this run made goes when it fails.  What a backup holds stays behind: the next backup is a full one.
    """
    disks.require_place(request.directory, request.sds, request.vm)
    place = request.source
    offer = Offer(request.vm, -1, place.sds, place.directory, not place.host)
    offered = Part.parsed(host.ask(place, Order(__version__, offer, settings)).facts.get("parts"))
    found = [part for part in offered if parts.lasting(request.vm, -1, part.name, "s")]
    numbers = sorted({int(names.tag_value(frozenset(part.tags), "disk") or -1) for part in found})
    with Undo() as undo:
        for number in numbers:
            ref = DiskRef(request.vm, number, request.seq, request.sds, request.directory)
            own = f"{lvm.by_tag('vm', ref.vm)} && {lvm.by_tag('disk', number)} && {lvm.by_tag('run', host.run_id)}"
            undo.push(ref.link, partial(_unlink, host, ref))
            undo.push(ref.volume, partial(lvm.remove, host, ref.vg, own))
            with disks.locked(settings, ref, "premigrate"):
                if not arrivals.arrived(host, ref):
                    mine = [part for part in found if parts.lasting(request.vm, number, part.name, "s")]
                    _disk(host, request, settings, ref, mine)
        undo.commit()
    return {"volumes": len(found), "bytes": sum(part.size for part in found)}


def _disk(host: Host, request: Premigrate, settings: Settings, ref: DiskRef, mine: Sequence[Part]) -> None:
    with arrivals.Arrival(host, settings, ref) as arrival:
        arrivals.clear(host, ref)
        copied = []
        for part in mine:
            if part.name == ref.volume and not part.readonly:
                arrival.make_empty(part)
            else:
                alone = replace(part, parent="")  # the disk that it derives from is empty here
                copied.append((alone, arrival.make(alone)))
        if copied:
            arrival.fetch(request.source, copied)
        arrival.finish()


def _unlink(host: Host, ref: DiskRef) -> None:
    if lvm.group(host, ref.vg).find(ref.volume) is None:
        host.unlink(ref.link)

"""premigrate: volumes of the right name and size, and links to them, for libvirt's storage copy.

libvirt writes every block, so a snapshot of an origin would win nothing, and a classic one could overflow.  What is
read-only it cannot write: such disks are copied here and now.
"""

from __future__ import annotations

from functools import partial

from vafnebula import __version__, errors, names
from vafnebula.model import DiskRef, Move, Offer, Order, Part, Premigrate, Settings
from vafnebula.node import arrivals, disks, lvm, parts, room
from vafnebula.node.deeds.mv import mv
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo


def premigrate(host: Host, request: Premigrate, settings: Settings) -> dict[str, object]:
    """Make them.  Facts: volumes, bytes of them.  Raises CannotMigrate for disk snapshots, NoRoom, Busy, NotOurs, ...

    What this run made goes when it fails.
    """
    disks.require_place(request.directory, request.sds, request.vm)
    place = request.source
    offer = Offer(request.vm, -1, place.sds, place.directory, not place.host)
    found = Part.parsed(host.ask(place, Order(__version__, offer, settings)).facts.get("parts"))
    found = [part for part in found if parts.lasting(request.vm, -1, part.name, "s")]  # a backup starts anew
    if not all(parts.lasting(request.vm, -1, part.name, "") for part in found):
        advice = "delete them, or migrate with the VM powered off"
        raise errors.CannotMigrate(why="disk snapshots cannot follow in a live migration", advice=advice)
    with Undo() as undo:
        for part in found:
            number = int(names.tag_value(frozenset(part.tags), "disk") or -1)
            ref = DiskRef(request.vm, number, request.seq, request.sds, request.directory)
            mine = f"{lvm.by_name(ref.volume)} && {lvm.by_tag('run', host.run_id)}"
            undo.push(ref.link, partial(_unlink, host, ref))
            undo.push(ref.volume, partial(lvm.remove, host, ref.vg, mine))
            if part.readonly:
                mv(host, Move(ref.vm, ref.disk, ref.seq, ref.sds, ref.directory, place), settings)
                continue
            with disks.locked(settings, ref, "premigrate"):
                if not arrivals.arrived(host, ref):
                    _make(host, settings, ref, part)
        undo.commit()
    return {"volumes": len(found), "bytes": sum(part.size for part in found)}


def _unlink(host: Host, ref: DiskRef) -> None:
    if lvm.group(host, ref.vg).find(ref.volume) is None:
        host.unlink(ref.link)


def _make(host: Host, settings: Settings, ref: DiskRef, part: Part) -> None:
    arrivals.clear(host, ref)
    size = lvm.in_extents(part.size)
    kept = [t for t in part.tags if not t.startswith("vaf.origin=")]
    tags = [*kept, *arrivals.own_tags(host, ref), names.PARTIAL]
    if settings.mode == "thin":
        room.making(
            host, settings, ref.vg, size,
            lambda: lvm.thin_volume(host, ref.vg, ref.volume, size, tags, limit=settings.pool_limit),
        )  # fmt: skip
    else:
        room.making(host, settings, ref.vg, size, lambda: lvm.linear_volume(host, ref.vg, ref.volume, size, tags))
        host.zero(ref.device, 0, size)  # libvirt may leave out what is zero on the source
    lvm.untag(host, ref.vg, ref.volume, [names.PARTIAL])
    arrivals.publish(host, ref)

"""A disk that comes from elsewhere: volumes are made, filled from a stream, proven, and only then called complete.

Until its content is proven a volume carries `vaf.partial`; the disk's own volume loses it last.  So LVM alone says
whether a disk has arrived (not partial, of this history record), whatever became of links and processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from vafnebula import __version__, errors, names, units, wire
from vafnebula.model import DiskRef, Image, Order, Settings
from vafnebula.model_moves import Part, Place, Send
from vafnebula.node import disks, lvm, parts, points, room, snapshots, source
from vafnebula.node.cache import Cache
from vafnebula.node.host import Host
from vafnebula.node.parts import ORIGIN
from vafnebula.node.undo import Undo


def recipe(vm: int, disk: int) -> str:
    """The recipe of every disk that arrived: its history record says the rest."""
    return disks.recipe("mv", vm, disk)


def arrived(host: Host, ref: DiskRef) -> bool:
    """Whether the disk is here complete, from this history record; it is then active and linked."""
    try:
        volume = lvm.group(host, ref.vg).find(ref.volume)
    except errors.NoVolumeGroup:
        return False
    if volume is None or not is_of(volume, ref.vm, ref.seq) or volume.tag("recipe") != recipe(ref.vm, ref.disk):
        return False
    publish(host, ref)
    return True


def is_of(volume: lvm.Volume, vm: int, seq: int) -> bool:
    """Whether a volume is complete, of this VM and made for history record `seq`."""
    mine = volume.ours and volume.tag("vm") == str(vm) and volume.tag("seq") == str(seq)
    return mine and names.PARTIAL not in volume.tags


def publish(host: Host, ref: DiskRef) -> None:
    if not os.path.exists(ref.device):
        lvm.activate(host, ref.vg, ref.volume)
    if not os.path.islink(ref.link) or os.readlink(ref.link) != ref.device:
        host.publish(ref.device, ref.link)


def clear(host: Host, ref: DiskRef) -> None:
    """Remove what an older incarnation or a dead run left of this disk.  The source has been seen by now."""
    volume = lvm.group(host, ref.vg).find(ref.volume)
    if volume is not None and not volume.ours:
        raise errors.NotOurs(what=f"volume {ref.vg}/{ref.volume}")
    lvm.remove(host, ref.vg, f"{lvm.by_tag('vm', ref.vm)} && {lvm.by_tag('disk', ref.disk)}")
    host.unlink(ref.link)


def own_tags(host: Host, ref: DiskRef) -> list[str]:
    """The tags of this run, in place of those of the run that made the source."""
    own = {"run": host.run_id, "seq": ref.seq, "recipe": recipe(ref.vm, ref.disk)}
    return [names.tag(what, value) for what, value in own.items()]


class Arrival:
    """One disk on its way in.  `with`: what this run made goes when it does not get to `finish`.

    `facts` collects figures: bases used, bytes that came over the wire.
    """

    def __init__(self, host: Host, settings: Settings, ref: DiskRef) -> None:
        self.host, self.settings, self.ref = host, settings, ref
        self.facts: dict[str, object] = {"base": "none", "bytes": 0}
        self._made: list[Part] = []
        self._origin: list[str] = []  # the tag of the cached image that was used
        self._undo = Undo()

    def __enter__(self) -> Arrival:
        if os.path.lexists(self.ref.link) and not os.path.islink(self.ref.link):
            raise errors.NotOurs(what=f"{self.ref.link}, which is not a link,")
        self._undo.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self._undo.__exit__(*reason)  # type: ignore[arg-type]

    def make(self, part: Part) -> str:
        """Make the volume for `part`; the base that it starts from: '', 'origin' or the parent's name."""
        if not parts.lasting(self.ref.vm, self.ref.disk, part.name):
            raise errors.BadArgument(what="volume", value=part.name, why=f"not of disk {self.ref.disk}")
        if part.name != self.ref.volume and self.settings.mode == "thick":
            why = "mode thick has no disk snapshots"
            raise errors.CannotMigrate(why=why, advice="delete the snapshots, or migrate to a datastore of mode thin")
        self._undo.push(part.name, partial(lvm.remove, self.host, self.ref.vg, points.mine(self.host, part.name)))
        base = self._make(part)
        self._made.append(part)
        if not os.path.exists(self.device(part)):
            lvm.activate(self.host, self.ref.vg, part.name)
        if base:
            self.facts["base"] = base
        return base

    def parent(self, part: Part, before: Sequence[Part]) -> str:
        """The name of the part among `before` that `part` can be made a snapshot of, '' for none.

        It is made when its parent's content is there, not earlier: a snapshot of what is empty would be empty too.
        """
        above = self._above(part, before)
        return above.name if above else ""

    def _above(self, part: Part, before: Sequence[Part]) -> Part | None:
        above = next((p for p in before if p.name == part.parent), None)
        fits = above is not None and self.settings.mode == "thin" and self._size(above) <= self._size(part)
        return above if fits else None

    def make_empty(self, part: Part) -> None:
        """Make the volume for `part` with nothing in it: it reads zeros, and somebody else will fill it."""
        self._undo.push(part.name, partial(lvm.remove, self.host, self.ref.vg, points.mine(self.host, part.name)))
        host, vg, settings = self.host, self.ref.vg, self.settings
        size, tags = self._size(part), self._tags(part)
        if settings.mode == "thin":
            room.making(
                host, settings, vg, size,
                lambda: lvm.thin_volume(host, vg, part.name, size, tags, limit=settings.pool_limit),
            )  # fmt: skip
        else:
            room.making(host, settings, vg, size, lambda: lvm.linear_volume(host, vg, part.name, size, tags))
            host.zero(self.device(part), 0, size)
        self._made.append(part)

    def fetch(self, place: Place, wanted: Sequence[tuple[Part, str]]) -> None:
        """Take the parts, each with its base, from where they are; one with a parent is made when its turn comes."""
        names, bases, ref = [p.name for p, _ in wanted], [b for _, b in wanted], self.ref
        send = Send(ref.vm, ref.disk, place.sds, place.directory, names, bases, not place.host)

        def take(position: int, reader: wire.Reader) -> None:
            part, base = wanted[position]
            if part not in self._made:
                self.make(part)
            self.take(part, base, reader)

        with self.host.converse(place, Order(__version__, send, self.settings)) as other:
            wire.receive(other, names, take)

    def device(self, part: Part) -> str:
        return names.device(self.ref.vg, part.name)

    def take(self, part: Part, base: str, reader: wire.Reader) -> None:
        """Put what comes for `part` on its volume, flush it and read it back."""
        if not base and self.settings.mode == "thick":
            self.host.zero(self.device(part), 0, self._size(part))  # a plain volume holds what its extents held
        self.host.receive(reader, self.device(part), part.size)
        self.facts["bytes"] = reader.bytes

    def finish(self) -> None:
        """All parts are there: they are complete from now on, the disk's own volume last, and the link is made."""
        self._made.sort(key=lambda p: p.name == self.ref.volume)
        if not self._made or self._made[-1].name != self.ref.volume:
            where = f"disk {self.ref.disk}"
            raise errors.NotFound(
                what=where, advice="its source has none: look for it on other nodes before you recover"
            )
        for part in self._made:
            drop = [names.PARTIAL, names.reserve(self._wanted(part))]
            if part.name != self.ref.volume:  # a point in time is inactive, at a boot too
                lvm.seal(self.host, self.ref.vg, part.name, [], drop, skip=True)
                lvm.let_go(self.host, self.ref.vg, part.name)
            elif part.readonly:
                lvm.seal(self.host, self.ref.vg, part.name, [], drop, skip=False)
            else:
                lvm.untag(self.host, self.ref.vg, part.name, drop)
        self._undo.push(self.ref.link, partial(self.host.unlink, self.ref.link))
        publish(self.host, self.ref)
        self._undo.commit()

    def _size(self, part: Part) -> int:
        return lvm.in_extents(part.size)

    def _tags(self, part: Part) -> list[str]:
        kept = [t for t in part.tags if not t.startswith("vaf.origin=")]
        return [*kept, *own_tags(self.host, self.ref), names.PARTIAL]

    def _wanted(self, part: Part) -> int:
        """Bytes that a copy of the whole part may occupy in the thin pool."""
        return part.used + units.MIB

    def _make(self, part: Part) -> str:
        host, vg, settings = self.host, self.ref.vg, self.settings
        tags, size = self._tags(part), self._size(part)
        above = self._above(part, self._made)
        if above is not None:
            room.making(
                host, settings, vg, size,
                lambda: lvm.snapshot(
                    host, vg, above.name, part.name, [*tags, *self._origin], limit=settings.pool_limit, readonly=False
                ),
            )  # fmt: skip
            if self._size(above) < size:
                lvm.extend(host, vg, part.name, size)
            return above.name
        if part.image and self._from_origin(part, tags, size):
            return ORIGIN
        room.for_copy(host, settings, vg, part.name, size, tags, self._wanted(part))
        return ""

    def _from_origin(self, part: Part, tags: Sequence[str], size: int) -> bool:
        """Make the volume a snapshot of the same cached image, if it is here or can be filled from the datastore."""
        cache = Cache(self.host, self.ref.vg, self.settings)

        def make(origin: str) -> None:
            have = lvm.group(self.host, self.ref.vg).find(origin)
            if have is None:
                raise errors.NotFound(what=origin, advice="")
            self._origin = [names.tag("origin", room.key_of(origin))]
            snapshots.of_origin(self.host, self.settings, self.ref, origin, size, tags, name=part.name)
            if self.settings.mode == "thin" and have.size < size:
                lvm.extend(self.host, self.ref.vg, part.name, size)

        origin = cache.held(part.image, part.print, size)
        if origin and cache.use(origin, make):
            return True
        image, found = self._image(part)
        if image is None or found is None or found.fingerprint != part.print or found.size > size:
            return False
        cache.snapshot(image, found, size, make)
        return True

    def _image(self, part: Part) -> tuple[Image | None, source.Source | None]:
        """The image file below the part, where this node sees it."""
        datastore, _, name = part.image.partition("/")
        if not datastore.isdigit() or not name or "/" in name:
            return None, None
        root = self.ref.directory.rsplit("/", 2)[0]
        image = Image(int(datastore), f"{root}/{datastore}/{name}")
        try:
            return image, source.inspect(image.path)
        except errors.Error:
            return None, None

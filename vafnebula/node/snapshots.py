"""The three ways to make a volume that costs no copy, in either mode: of an origin, of nothing, larger."""

from __future__ import annotations

from collections.abc import Sequence

from vafnebula import names, units
from vafnebula.model import DiskRef, Settings
from vafnebula.node import lvm, room
from vafnebula.node.host import Host


def of_origin(
    host: Host,
    settings: Settings,
    ref: DiskRef,
    origin: str,
    size: int,
    tags: Sequence[str],
    *,
    readonly: bool = False,
    name: str = "",
) -> None:
    """The disk's volume (or another one, called `name`) as a snapshot of `origin`, tagged with its key.

    Raises NotFound (no such origin), VolumeExists, NoRoom.
    """
    volume = name or ref.volume
    tags = [*tags, names.tag("origin", room.key_of(origin))]

    def create() -> None:
        if settings.mode == "thin":
            lvm.snapshot(host, ref.vg, origin, volume, tags, limit=settings.pool_limit, readonly=readonly)
        else:
            changes = cow_room(0 if readonly else size, settings)
            lvm.cow_snapshot(
                host, ref.vg, origin, volume, tags, room=changes, chunk=settings.cow_chunk, readonly=readonly
            )

    room.making(host, settings, ref.vg, size, create)


def of_zeros(host: Host, settings: Settings, ref: DiskRef, size: int, tags: Sequence[str]) -> None:
    """The disk's volume, empty: it reads zeros wherever it was not written.  Raises VolumeExists, NoRoom."""

    def create() -> None:
        if settings.mode == "thin":
            lvm.thin_volume(host, ref.vg, ref.volume, size, tags, limit=settings.pool_limit)
        else:
            changes = cow_room(size, settings)
            lvm.zero_snapshot(host, ref.vg, ref.volume, size, tags, room=changes, chunk=settings.cow_chunk)

    room.making(host, settings, ref.vg, size, create)


def grow(host: Host, ref: DiskRef, old: int, size: int) -> None:
    """Grow a thin disk that was made for `old` bytes to `size`, unless the rest of its last extent is enough."""
    if lvm.in_extents(size) > lvm.in_extents(old):
        lvm.extend(host, ref.vg, ref.volume, lvm.in_extents(size))


def cow_room(size: int, settings: Settings) -> int:
    """Bytes to allocate for the changes of a classic snapshot of a disk of `size` bytes.

    At cow_percent = 100 it can never overflow: besides every chunk there is room for the exception tables (16 bytes a
    chunk) and their headers.  LVM caps the value at what can be used.
    """
    chunk = settings.cow_chunk
    changes = units.round_up((lvm.in_extents(size) if size else 0) * settings.cow_percent // 100, chunk)
    tables = units.round_up(changes // chunk * 16 + 1, chunk) + 2 * chunk
    return lvm.in_extents(changes + tables)

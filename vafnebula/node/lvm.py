"""LVM: argument lists out, JSON reports in.  Its error texts are in lvm_errors.py.

Every command is non-interactive (`--yes`, stdin closed), keeps no archive on this path, and never looks for PVs inside
volumes (`scan_lvs=0`): a guest may carry a VG of the same name on its disk.  The thin pool's fill limit is given to
LVM itself (`thin_pool_autoextend_threshold`), which then refuses new volumes above it under its own lock: the admission
check costs no extra command and cannot race.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from vafnebula import errors, names, process, units
from vafnebula.node import lvm_errors
from vafnebula.node.host import Host

BUSY_DELAYS = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)  # seconds; qemu or a udev probe lets go within that, or never
_TRIES = 20  # to open a device that others take away
_FIELDS = "lv_name,lv_size,lv_attr,lv_tags,origin,pool_lv,segtype,data_percent,metadata_percent,lv_time,zero"


@dataclass(frozen=True)
class Volume:
    """One LV as LVM reports it.  Sizes in bytes, `created` in epoch seconds, percents 0-100 (0 when inactive)."""

    name: str
    size: int
    tags: frozenset[str]
    origin: str
    thin_pool: str
    kind: str
    attr: str
    data_percent: float
    metadata_percent: float
    created: int
    zeroing: bool

    @property
    def ours(self) -> bool:
        return names.OURS in self.tags

    @property
    def classic(self) -> bool:
        """A classic copy-on-write snapshot; `size` is its room for changes then, not the disk's."""
        return self.attr[0:1] in ("s", "S")

    @property
    def open(self) -> bool:
        """Something, as a running VM, has the device open."""
        return self.attr[5:6] == "o"

    @property
    def active(self) -> bool:
        """It has a device."""
        return self.attr[4:5] not in ("-", "")

    @property
    def overflowed(self) -> bool:
        """A classic snapshot that ran out of room: lv_attr's state is I or S (lvs(8))."""
        return self.attr[4:5] in ("I", "S")

    def tag(self, what: str) -> str:
        """The value of our tag `what`, '' when absent."""
        return names.tag_value(self.tags, what) or ""


@dataclass(frozen=True)
class Group:
    """What a VG holds."""

    name: str
    volumes: tuple[Volume, ...]

    def find(self, name: str) -> Volume | None:
        return next((v for v in self.volumes if v.name == name), None)

    def snapshots_of(self, name: str) -> tuple[Volume, ...]:
        """What was made of volume `name`; of an origin also through snapshots in between that are gone (tag origin)."""
        key = name[len(names.ORIGIN_PREFIX) :] if name.startswith(names.ORIGIN_PREFIX) else None
        return tuple(v for v in self.volumes if v.origin == name or (v.ours and v.tag("origin") == key))

    def of_disk(self, vm: int, disk: int) -> tuple[Volume, ...]:
        """A disk and all that belongs to it: disk snapshots, bases of backups, what an action was about to use."""
        mine = {names.tag("vm", vm), names.tag("disk", disk)}
        return tuple(v for v in self.volumes if v.ours and mine <= v.tags)


# --- looking


def group(host: Host, vg: str) -> Group:
    """Report a VG's volumes with one command, however many there are.  Raises NoVolumeGroup, SudoRefused."""
    done = _run(host, vg, "lvs", ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", _FIELDS, vg],
        config='report{time_format="%s"}',
    )  # fmt: skip
    return Group(vg, parse_lvs(done.out))


def parse_lvs(text: bytes) -> tuple[Volume, ...]:
    """Parse `lvs --reportformat json` with our fields, of which segtype makes lvs print a line per segment."""
    rows: dict[str, dict[str, str]] = {}
    for segment in json.loads(text)["report"][0]["lv"]:
        rows.setdefault(segment["lv_name"], segment)
    return tuple(
        Volume(
            name=row["lv_name"],
            size=int(row["lv_size"]),
            tags=frozenset(t for t in row["lv_tags"].split(",") if t),
            origin=row["origin"].strip("[]"),
            thin_pool=row["pool_lv"].strip("[]"),
            kind=row["segtype"],
            attr=row["lv_attr"],
            data_percent=float(row["data_percent"] or 0),
            metadata_percent=float(row["metadata_percent"] or 0),
            created=int(row["lv_time"] or 0),
            zeroing=row["zero"] == "zero",
        )
        for row in rows.values()
    )


def thin_ids(host: Host, vg: str) -> dict[str, int]:
    """Number of every thin volume inside its thin pool."""
    argv = ["--reportformat", "json", "-S", "thin_id>0", "-o", "lv_name,thin_id", vg]
    rows = json.loads(_run(host, vg, "lvs", argv).out)["report"][0]["lv"]
    return {row["lv_name"]: int(row["thin_id"]) for row in rows}


def groups(host: Host) -> dict[str, tuple[int, int]]:
    """The VGs of system datastores on this node: name -> (size, unallocated bytes).  Raises SudoRefused."""
    select = ["-S", 'vg_name=~"^vg-one-[0-9]+$"']
    argv = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", "vg_name,vg_size,vg_free", *select]
    rows = json.loads(_run(host, "", "vgs", argv).out)["report"][0]["vg"]
    return {row["vg_name"]: (int(row["vg_size"]), int(row["vg_free"])) for row in rows}


def free_bytes(host: Host, vg: str) -> int:
    """Unallocated bytes of a VG, also of an empty one, which lvs cannot tell."""
    argv = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", "vg_free", vg]
    return int(json.loads(_run(host, vg, "vgs", argv).out)["report"][0]["vg"][0]["vg_free"])


def pool(host: Host, vg: str) -> dict[str, str]:
    """What LVM says of a VG's thin pool, {} when it has none."""
    fields = "lv_name,lv_size,chunk_size,zero,lv_when_full,data_percent,metadata_percent,seg_monitor"
    select = ["-S", f'lv_name="{names.THIN_POOL}" && segtype=thin-pool', vg]
    argv = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields, *select]
    rows: list[dict[str, str]] = json.loads(_run(host, vg, "lvs", argv).out)["report"][0]["lv"]
    return rows[0] if rows else {}


# --- making


def snapshot(
    host: Host,
    vg: str,
    origin: str,
    name: str,
    tags: Sequence[str],
    *,
    limit: int,
    readonly: bool,
    active: bool = True,
) -> None:
    """A thin snapshot of a thin volume: one metadata transaction.  LVM holds the writes of an active one meanwhile.

    Raises NotFound (no such origin), VolumeExists, NoRoom (pool above `limit` percent), NoVolumeGroup, SudoRefused.
    """
    kept = _visible(readonly) if active else ["-ky", "-an", "-pr" if readonly else "-prw"]
    argv = ["-s", "-n", name, *kept, *_tags(tags), f"{vg}/{origin}"]
    _run(host, vg, "lvcreate", argv, config=_threshold(limit))


def cow_snapshot(
    host: Host, vg: str, origin: str, name: str, tags: Sequence[str], *, room: int, chunk: int, readonly: bool
) -> None:
    """A classic copy-on-write snapshot with `room` bytes for changes; LVM caps `room` at what can ever be used."""
    size = ["-L", f"{room}b", "-c", f"{chunk}b"]
    _run(host, vg, "lvcreate", ["-s", "-n", name, *size, *_visible(readonly), *_tags(tags), f"{vg}/{origin}"])


def thin_volume(host: Host, vg: str, name: str, size: int, tags: Sequence[str], *, limit: int) -> None:
    """An empty thin volume; reads zeros where nothing was written (the thin pool zeroes new chunks)."""
    argv = ["-Wn", "-n", name, "-V", f"{size}b", "-T", *_visible(False), *_tags(tags), f"{vg}/{names.THIN_POOL}"]
    _run(host, vg, "lvcreate", argv, config=_threshold(limit))


def linear_volume(host: Host, vg: str, name: str, size: int, tags: Sequence[str]) -> None:
    """A plain volume.  It holds whatever its extents held before: the caller overwrites or zeroes all of it."""
    _run(host, vg, "lvcreate", ["-Wn", "-Zn", "-n", name, "-L", f"{size}b", *_visible(False), *_tags(tags), vg])


def zero_snapshot(host: Host, vg: str, name: str, size: int, tags: Sequence[str], *, room: int, chunk: int) -> None:
    """An empty volume without a thin pool: a classic snapshot of `size` bytes of zeros, made in constant time.

    Nothing that its extents held before can be read through it.
    """
    size_of = ["-V", f"{size}b", "-L", f"{room}b", "-c", f"{chunk}b"]
    argv = ["--type", "snapshot", "-n", name, *size_of, *_visible(False), *_tags(tags), vg]
    _run(host, vg, "lvcreate", argv)


def extend(host: Host, vg: str, name: str, size: int) -> None:
    """Grow a thin volume to at least `size` bytes, of which the new ones read zeros; or a classic snapshot's room.

    LVM refuses to shrink.
    """
    _run(host, vg, "lvextend", ["-L", f"{size}b", f"{vg}/{name}"])


def extend_onto(host: Host, vg: str, name: str, size: int, ranges: Sequence[str]) -> None:
    """Grow a plain volume to `size` bytes with the physical extents `ranges` and no others.  Raises NoRoom."""
    _run(host, vg, "lvextend", ["-L", f"{size}b", f"{vg}/{name}", *ranges])


def ranges_of(host: Host, vg: str, name: str) -> list[str]:
    """The physical extents of a plain volume, as `/dev/sdb:10-19`."""
    argv = ["--reportformat", "json", "-o", "seg_pe_ranges", f"{vg}/{name}"]
    rows = json.loads(_run(host, vg, "lvs", argv).out)["report"][0]["lv"]
    return [word for row in rows for word in row["seg_pe_ranges"].split()]


# --- changing


def activate(host: Host, vg: str, name: str) -> None:
    _run(host, vg, "lvchange", ["-ay", "-K", f"{vg}/{name}"])


def deactivate(host: Host, vg: str, name: str) -> None:
    """Take the device away, which flushes it.  Raises Busy when it stays open."""
    _patiently(host, vg, "lvchange", ["-an", f"{vg}/{name}"])


@contextmanager
def held(host: Host, vg: str, name: str) -> Iterator[str]:
    """The device of a volume that several may read at once: active, and open while the block runs.

    So another one's `let_go` leaves it; one that comes between activation and open does not, and is waited out.  Raises
    Busy when that happens again and again.
    """
    device = names.device(vg, name)
    for _ in range(_TRIES):
        activate(host, vg, name)
        with suppress(FileNotFoundError):
            fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            break
    else:
        raise errors.Busy(what=f"volume {vg}/{name}", why="others take its device away again and again")
    try:
        yield device
    finally:
        os.close(fd)


def let_go(host: Host, vg: str, name: str) -> None:
    """Take the device away unless somebody else has it open: then that one does."""
    with suppress(errors.Busy):
        _run(host, vg, "lvchange", ["-an", f"{vg}/{name}"])


def seal(host: Host, vg: str, name: str, tags: Sequence[str], drop: Sequence[str], *, skip: bool) -> None:
    """Read-only, tagged with `tags` and no more with `drop`: one metadata transaction.

    With `skip` a boot does not activate it.  That is not for the origin of classic snapshots, which a boot activates
    together with their origin or not at all.
    """
    skipped = ["-ky"] if skip else []
    _run(host, vg, "lvchange", ["-pr", *skipped, *_tags(tags), *_tags(drop, "--deltag"), f"{vg}/{name}"])


def retag(host: Host, vg: str, name: str, tags: Sequence[str], drop: Sequence[str]) -> None:
    """Add tags and take others away in one metadata transaction; a tag in both stays."""
    drop = [t for t in drop if t not in tags]
    _run(host, vg, "lvchange", [*_tags(tags), *_tags(drop, "--deltag"), f"{vg}/{name}"])


def tag(host: Host, vg: str, name: str, tags: Sequence[str]) -> None:
    _run(host, vg, "lvchange", [*_tags(tags), f"{vg}/{name}"])


def untag(host: Host, vg: str, name: str, drop: Sequence[str]) -> None:
    _run(host, vg, "lvchange", [*_tags(drop, "--deltag"), f"{vg}/{name}"])


def rename(host: Host, vg: str, old: str, new: str) -> None:
    _run(host, vg, "lvrename", [vg, old, new])


def remove(host: Host, vg: str, select: str) -> None:
    """Remove the volumes of ours that match `select` (lvmreport(7) selection); none at all is fine.

    One command finds and removes, so what was looked at is what goes.  Raises Busy when one is in use.
    """
    argv = ["-S", f'lv_tags="{names.OURS}" && {select}', vg]
    try:
        _patiently(host, vg, "lvremove", argv)
    except errors.NotFound:  # a dead run's lvremove was faster with one that had been found
        _patiently(host, vg, "lvremove", argv)


def by_name(name: str) -> str:
    return f'lv_name="{name}"'


def by_tag(what: str, value: object) -> str:
    return f'lv_tags="{names.tag(what, value)}"'


def by_disk(vm: int, disk: int) -> str:
    """All volumes of a disk: itself, its disk snapshots, the bases of its backups."""
    return f"{by_tag('vm', vm)} && {by_tag('disk', disk)}"


# --- running


def _visible(readonly: bool) -> list[str]:
    return ["-kn", "-ay", "-pr" if readonly else "-prw"]


def _tags(tags: Sequence[str], option: str = "--addtag") -> list[str]:
    return [word for t in tags for word in (option, t)]


def _threshold(limit: int) -> str:
    return f"activation{{thin_pool_autoextend_threshold={limit}}}"


def _run(host: Host, vg: str, program: str, argv: Sequence[str], config: str = "") -> process.Completed:
    common = ["--config", f"devices{{scan_lvs=0}} backup{{backup=0 archive=0}} {config}".strip()]
    yes = [] if program in ("lvs", "vgs") else ["--yes"]
    done = host.lvm([program, *yes, *common, *argv])
    if done.code != 0:
        raise lvm_errors.explain(program, vg, done)
    return done


def _patiently(host: Host, vg: str, program: str, argv: Sequence[str]) -> None:
    for delay in BUSY_DELAYS:
        try:
            _run(host, vg, program, argv)
            return
        except errors.Busy:
            time.sleep(delay)
    _run(host, vg, program, argv)


def in_extents(size: int) -> int:
    """`size` rounded up to what LVM allocates by default (4 MiB extents)."""
    return units.round_up(max(size, 1), 4 * units.MIB)

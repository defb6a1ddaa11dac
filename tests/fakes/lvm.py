"""FakeLvm: what the node half needs of LVM, with volumes as sparse files and the metadata in one more file.

It reads the very argument lists that vafnebula.node.lvm builds, and is strict: an option, a selection or a combination
that it does not know is an AssertionError, never a guess.  It answers with the texts and exit codes of lvm2 2.03.16
and enforces what LVM enforces.  As with LVM, the metadata is on "disk" under a lock: threads, processes and later runs
all see the same node.  What an extent held before shows through a new linear volume: `TENANT`, every 64 KiB.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

EXTENT = 4 << 20
TENANT = (b"old tenant's secret\n" * 205)[:4096]
FAILED = 5
METADATA_FULL = 96.0  # LVM wants 4 MiB of them free

_CONFIG = re.compile(
    r"devices\{scan_lvs=0\} backup\{backup=0 archive=0\}"
    r'(?: activation\{thin_pool_autoextend_threshold=(\d+)\}| report\{time_format="%s"\})?'
)
_OPTIONS: dict[str, dict[str, int]] = {
    "lvs": {"--reportformat": 1, "--units": 1, "--nosuffix": 0, "-o": 1, "-S": 1},
    "vgs": {"--reportformat": 1, "--units": 1, "--nosuffix": 0, "-o": 1, "-S": 1},
    "lvcreate": {
        **dict.fromkeys(("-s", "-T", "-Wn", "-Zn", "-kn", "-ky", "-ay", "-an", "-pr", "-prw"), 0),
        **dict.fromkeys(("-n", "-L", "-V", "-c", "--type", "--addtag"), 1),
    },
    "lvextend": {"-L": 1},
    "lvchange": {**dict.fromkeys(("-ay", "-an", "-K", "-pr", "-ky"), 0), "--addtag": 1, "--deltag": 1},
    "lvrename": {},
    "lvremove": {"-S": 1},
}
LOOKING = ("lvs", "vgs")
_TAG = re.compile(r"[A-Za-z0-9_+.\-/=!:&#]{1,1024}")
_NAME = re.compile(r"[A-Za-z0-9_+.\-]{1,127}")


@dataclass
class Lv:
    """`size` is what the device has, `room` what a classic snapshot took of the VG, `shared` what a thin snapshot
    had in common with its origin when it was made (all in bytes)."""

    name: str
    size: int
    kind: str  # linear, thin, thin-pool, snapshot; foreign is never looked into
    tags: set[str] = field(default_factory=set)
    origin: str = ""
    room: int = 0
    shared: int = 0
    chunk: int = 0
    active: bool = True
    readonly: bool = False
    skip: bool = False
    opened: bool = False
    overflowed: bool = False
    percent: float = 0  # of a classic snapshot's room in use
    ranges: list[str] = field(default_factory=list)
    created: float = field(default_factory=time.time)


@dataclass
class Vg:
    size: int
    lvs: dict[str, Lv] = field(default_factory=dict)
    foreign: int = 0  # bytes of the thin pool that volumes of others occupy
    metadata: float = 10.0  # percent of the thin pool's metadata in use
    metadata_snap: bool = False
    extents: int = 0  # handed out so far
    zeroed: set[str] = field(default_factory=set)  # extents that read zeros since a plain volume gave them back
    zeroing: bool = True

    @property
    def free(self) -> int:
        return self.size - sum(_physical(lv) for lv in self.lvs.values())


class Refused(Exception):
    """LVM says no, in these words."""


class FakeLvm:
    """The VGs of one node, kept below `root`; an active volume has a link below `devices`."""

    def __init__(self, root: Path, devices: Path) -> None:
        self.root = root
        self.devices = devices
        self._volumes = root / "volumes"
        self._volumes.mkdir(parents=True, exist_ok=True)
        devices.mkdir(exist_ok=True)
        self._state = root / "metadata"
        if not self._state.exists():
            self._state.write_bytes(pickle.dumps({}))

    # --- for tests

    @contextmanager
    def metadata(self) -> Iterator[dict[str, Vg]]:
        """The VGs, to look at and to change, under LVM's lock."""
        with self._state.open("r+b") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            vgs: dict[str, Vg] = pickle.load(f)
            try:
                yield vgs
            finally:
                os.pwrite(f.fileno(), pickle.dumps(vgs), 0)  # what an older one leaves behind it is not read

    def file(self, vg: str, name: str) -> Path:
        """Where a volume's bytes are, active or not."""
        return Path(f"{self._volumes}/{vg}.{name}")

    def add(self, vg: str, lv: Lv) -> None:
        """Put a volume there as if somebody else had made it."""
        with self.metadata() as vgs:
            vgs[vg].lvs[lv.name] = lv
            with self.file(vg, lv.name).open("wb") as f:
                f.truncate(lv.size)
            self._show(vg, lv)

    def message(self, argv: Sequence[str]) -> int:
        """The exit code of `dmsetup message`, as far as the sudo rule allows it."""
        found = re.fullmatch(
            r"dmsetup message vg--one--(\d+)-vaf--thinpool-tpool 0 (reserve|release)_metadata_snap", " ".join(argv)
        )
        assert found, f"not allowed by the sudo rule: {argv}"
        with self.metadata() as vgs:
            vg = vgs[f"vg-one-{found[1]}"]
            if vg.metadata_snap == (found[2] == "reserve"):
                return 1
            vg.metadata_snap = not vg.metadata_snap
        return 0

    def thin_delta(self, argv: Sequence[str]) -> bytes:
        """What thin_delta says, in its words, about two volumes that are told by number."""
        found = re.fullmatch(
            r"thin_delta -m --snap1 (\d+) --snap2 (\d+) /dev/mapper/vg--one--(\d+)-vaf--thinpool_tmeta", " ".join(argv)
        )
        assert found, f"unknown query {argv}"
        name = f"vg-one-{found[3]}"
        with self.metadata() as vgs:
            assert vgs[name].metadata_snap, "nobody holds the metadata"
            ids = _thin_ids(vgs[name])
            one, other = (self.file(name, ids[int(found[i])]) for i in (1, 2))
        return _delta(one, other)

    # --- the commands

    def run(self, argv: Sequence[str]) -> tuple[int, bytes, bytes]:
        """Exit code, stdout and stderr of one LVM command."""
        if argv[0] == "dmsetup":
            return 1, b"", b"Device does not exist.\n"
        program, options, words, limit = _parse(argv)
        with self.metadata() as vgs:
            try:
                return 0, getattr(self, f"_{program}")(vgs, options, words, limit), b""
            except Refused as e:
                return FAILED, b"", "".join(f"  {line}\n" for line in str(e).splitlines()).encode()

    def _lvs(self, vgs: dict[str, Vg], options: dict[str, list[str]], words: list[str], limit: int) -> bytes:
        if options["-o"] == ["seg_pe_ranges"]:
            _, _, lv = _lv(vgs, words)
            assert options["--reportformat"] == ["json"]
            return json.dumps({"report": [{"lv": [{"seg_pe_ranges": " ".join(lv.ranges)}]}]}).encode()
        name, vg = _vg(vgs, words)
        if options["-o"] == ["lv_name,thin_id"]:
            assert (options["--reportformat"], options["-S"]) == (["json"], ["thin_id>0"])
            ids = [{"lv_name": n, "thin_id": str(i)} for i, n in _thin_ids(vg).items()]
            return json.dumps({"report": [{"lv": ids}]}).encode()
        fields = _report(options)
        chosen = list(vg.lvs.values())
        if "-S" in options:
            assert options["-S"] == ['lv_name="vaf-thinpool" && segtype=thin-pool']
            chosen = [lv for lv in chosen if (lv.name, lv.kind) == ("vaf-thinpool", "thin-pool")]
        rows = [{f: self._field(name, vg, lv, f) for f in fields} for lv in chosen]
        return json.dumps({"report": [{"lv": rows}]}).encode()

    def _vgs(self, vgs: dict[str, Vg], options: dict[str, list[str]], words: list[str], limit: int) -> bytes:
        if "-S" in options:
            assert (options["-S"], words) == (['vg_name=~"^vg-one-[0-9]+$"'], [])
            assert _report(options) == ["vg_name", "vg_size", "vg_free"]
            all_of_them = [{"vg_name": n, "vg_size": str(vg.size), "vg_free": str(vg.free)} for n, vg in vgs.items()]
            return json.dumps({"report": [{"vg": all_of_them}]}).encode()
        _, vg = _vg(vgs, words)
        assert _report(options) == ["vg_free"]
        return json.dumps({"report": [{"vg": [{"vg_free": str(vg.free)}]}]}).encode()

    def _lvcreate(self, vgs: dict[str, Vg], options: dict[str, list[str]], words: list[str], limit: int) -> bytes:
        shape = frozenset(options) - {"--addtag", "-kn", "-ky", "-ay", "-an", "-pr", "-prw"}
        inactive = {"-ky", "-an"} <= set(options)
        assert inactive or {"-kn", "-ay"} <= set(options)
        assert len({"-pr", "-prw"} & set(options)) == 1
        makers = {
            frozenset({"-s", "-n"}): self._thin_snapshot,
            frozenset({"-s", "-n", "-L", "-c"}): self._cow_snapshot,
            frozenset({"-Wn", "-n", "-V", "-T"}): self._thin_volume,
            frozenset({"-Wn", "-Zn", "-n", "-L"}): self._linear_volume,
            frozenset({"--type", "-n", "-V", "-L", "-c"}): self._zero_snapshot,
        }
        assert shape in makers, f"unknown combination {sorted(shape)}"
        [target] = words
        name, vg = _vg(vgs, [target.partition("/")[0]])
        [new] = options["-n"]
        assert _NAME.fullmatch(new)
        lv = makers[shape](name, vg, options, target.partition("/")[2], limit)
        lv.readonly = "-pr" in options
        if inactive:
            assert lv.kind == "thin", "others are wanted at once"
            lv.skip, lv.active = True, False
        lv.tags = _tags(options, "--addtag")
        vg.lvs[new] = lv
        self._show(name, lv)
        return b""

    def _thin_snapshot(self, vg_name: str, vg: Vg, options: dict[str, list[str]], old: str, limit: int) -> Lv:
        origin = _origin(vg_name, vg, old)
        assert origin.kind == "thin", "a snapshot of a plain volume needs a size"
        lv = _fresh(vg_name, vg, options, "thin", origin.size)
        self._below_threshold(vg_name, vg, limit)
        lv.origin = old
        _copy_sparse(self.file(vg_name, old), self.file(vg_name, lv.name))
        lv.shared = self._allocated(vg_name, lv)
        return lv

    def _cow_snapshot(self, vg_name: str, vg: Vg, options: dict[str, list[str]], old: str, limit: int) -> Lv:
        origin = _origin(vg_name, vg, old)
        assert origin.kind == "linear", "a classic snapshot is made of a plain volume"
        lv = _fresh(vg_name, vg, options, "snapshot", origin.size)
        _allocate(vg_name, vg, lv, _cow_room(options, origin.size, lv))
        lv.origin = old
        lv.active = origin.active
        _copy_sparse(self.file(vg_name, old), self.file(vg_name, lv.name))
        return lv

    def _thin_volume(self, vg_name: str, vg: Vg, options: dict[str, list[str]], pool: str, limit: int) -> Lv:
        lv = _fresh(vg_name, vg, options, "thin", _bytes(options, "-V"))
        if pool not in vg.lvs:
            raise Refused(f"Pool {pool} not found in Volume group {vg_name}.")
        self._below_threshold(vg_name, vg, limit)
        self._blank(vg_name, lv)
        return lv

    def _linear_volume(self, vg_name: str, vg: Vg, options: dict[str, list[str]], rest: str, limit: int) -> Lv:
        assert rest == ""
        lv = _fresh(vg_name, vg, options, "linear", _bytes(options, "-L"))
        _allocate(vg_name, vg, lv, lv.size)
        lv.ranges = [f"/dev/sdb:{vg.extents}-{vg.extents + lv.size // EXTENT - 1}"]
        vg.extents += lv.size // EXTENT
        with self.file(vg_name, lv.name).open("wb") as f:
            f.truncate(lv.size)
            for offset in range(0, lv.size, 1 << 16):
                os.pwrite(f.fileno(), TENANT, offset)
        return lv

    def _zero_snapshot(self, vg_name: str, vg: Vg, options: dict[str, list[str]], rest: str, limit: int) -> Lv:
        assert rest == ""
        assert options["--type"] == ["snapshot"]
        lv = _fresh(vg_name, vg, options, "snapshot", _bytes(options, "-V"))
        _allocate(vg_name, vg, lv, _cow_room(options, lv.size, lv))
        lv.origin = f"[{lv.name}_vorigin]"
        self._blank(vg_name, lv)
        return lv

    def _lvextend(self, vgs: dict[str, Vg], options: dict[str, list[str]], words: list[str], limit: int) -> bytes:
        path, *ranges = words
        vg_name, vg, lv = _lv(vgs, [path])
        size = _bytes(options, "-L")
        if lv.kind == "snapshot":
            old = lv.room
            _allocate(vg_name, vg, lv, size - old)
            lv.percent, lv.room = lv.percent * old / size, size
            return b""
        assert lv.kind == "thin" or (lv.kind == "linear" and ranges), "only thin volumes grow by themselves"
        if size <= lv.size:
            new, old = size // EXTENT, lv.size // EXTENT
            same = f"New size ({new} extents) matches existing size ({old} extents)."
            raise Refused(
                same if new == old else f"New size given ({new} extents) not larger than existing size ({old})"
            )
        with self.file(vg_name, lv.name).open("r+b") as f:
            f.truncate(size)
            if lv.kind == "linear" and not set(ranges) <= vg.zeroed:
                os.pwrite(f.fileno(), TENANT, lv.size)
        lv.size = size
        lv.ranges += ranges
        return b""

    def _lvchange(self, vgs: dict[str, Vg], options: dict[str, list[str]], words: list[str], limit: int) -> bytes:
        vg_name, vg, lv = _lv(vgs, words)
        shape = frozenset(options)
        if "-an" in shape:
            assert shape == {"-an"}
            _closed(vg_name, lv)
            lv.active = False
        elif "-ay" in shape:
            assert shape == {"-ay", "-K"}
            lv.active = True
            if lv.kind == "snapshot" and lv.origin in vg.lvs:  # they share a device-mapper table
                vg.lvs[lv.origin].active = True
                self._show(vg_name, vg.lvs[lv.origin])
        else:
            assert shape <= {"-pr", "-ky", "--addtag", "--deltag"}
            assert not _tags(options, "--addtag") & _tags(options, "--deltag")
            if "-pr" in shape and lv.readonly:
                raise Refused(f'Logical volume "{lv.name}" is already read only.')
            lv.readonly |= "-pr" in shape
            lv.skip |= "-ky" in shape
            lv.tags = (lv.tags | _tags(options, "--addtag")) - _tags(options, "--deltag")
        self._show(vg_name, lv)
        return b""

    def _lvrename(self, vgs: dict[str, Vg], options: dict[str, list[str]], words: list[str], limit: int) -> bytes:
        vg_word, old, new = words
        name, vg = _vg(vgs, [vg_word])
        if new in vg.lvs:
            raise Refused(f'Logical Volume "{new}" already exists in volume group "{name}"')
        if old not in vg.lvs:
            raise Refused(f'Existing logical volume "{old}" not found in volume group "{name}"')
        lv = vg.lvs.pop(old)
        self._hide(name, lv)
        self.file(name, old).rename(self.file(name, new))
        lv.name = new
        for other in vg.lvs.values():
            if other.origin == old:
                other.origin = new
        vg.lvs[new] = lv
        self._show(name, lv)
        return b""

    def _lvremove(self, vgs: dict[str, Vg], options: dict[str, list[str]], words: list[str], limit: int) -> bytes:
        name, vg = _vg(vgs, words)
        [select] = options["-S"]
        terms = [re.fullmatch(r'lv_(name|tags)="([^"]*)"', term) for term in select.split(" && ")]
        assert all(terms), f"unknown selection {select}"
        wanted = [(t[1], t[2]) for t in terms if t]
        assert ("tags", "vafnebula") in wanted, "only volumes of ours may be removed"
        chosen = [
            lv for lv in vg.lvs.values() if all(lv.name == v if what == "name" else v in lv.tags for what, v in wanted)
        ]
        refusals = []
        for lv in chosen:
            try:
                self._drop(name, vg, lv)
            except Refused as e:
                refusals.append(str(e))
        if refusals:
            raise Refused("\n".join(refusals))
        return b""

    def _drop(self, vg_name: str, vg: Vg, lv: Lv) -> None:
        _closed(vg_name, lv)
        heirs = [other for other in vg.lvs.values() if other.origin == lv.name]
        if lv.kind == "linear":
            for snapshot in heirs:  # with --yes LVM takes a plain origin's snapshots along
                self._drop(vg_name, vg, snapshot)
        elif heirs:
            heirs[0].shared = lv.shared  # what both had is the survivor's now
            for heir in heirs:
                heir.origin = ""
        self._hide(vg_name, lv)
        if not self._holds_anything(vg_name, lv):
            vg.zeroed.update(lv.ranges)
        self.file(vg_name, lv.name).unlink()
        del vg.lvs[lv.name]

    # --- what volumes hold

    def used(self, vg_name: str, vg: Vg) -> int:
        """Bytes of the thin pool that are occupied."""
        own = sum(max(0, self._allocated(vg_name, lv) - lv.shared) for lv in vg.lvs.values() if lv.kind == "thin")
        return vg.foreign + own

    def _allocated(self, vg_name: str, lv: Lv) -> int:
        return os.stat(f"{self._volumes}/{vg_name}.{lv.name}").st_blocks * 512

    def _holds_anything(self, vg_name: str, lv: Lv) -> bool:
        with self.file(vg_name, lv.name).open("rb") as f:
            return any(os.pread(f.fileno(), end - start, start).strip(b"\0") for start, end in written(f.fileno()))

    def _below_threshold(self, vg_name: str, vg: Vg, limit: int) -> None:
        pool = vg.lvs["vaf-thinpool"]
        full = self.used(vg_name, vg) * 100 > limit * pool.size or self.used(vg_name, vg) >= pool.size
        if full or vg.metadata >= METADATA_FULL:
            raise Refused(
                f"Cannot create new thin volume, free space in thin pool {vg_name}/{pool.name} reached threshold."
            )

    def _blank(self, vg_name: str, lv: Lv) -> None:
        with self.file(vg_name, lv.name).open("wb") as f:
            f.truncate(lv.size)

    def _show(self, vg_name: str, lv: Lv) -> None:
        self._hide(vg_name, lv)
        if lv.active:
            device = self.devices / vg_name / lv.name
            device.parent.mkdir(exist_ok=True)
            device.symlink_to(self.file(vg_name, lv.name))

    def _hide(self, vg_name: str, lv: Lv) -> None:
        (self.devices / vg_name / lv.name).unlink(missing_ok=True)

    def _field(self, vg_name: str, vg: Vg, lv: Lv, name: str) -> str:
        if name == "data_percent":
            return self._percent(vg_name, vg, lv)
        return {
            "lv_name": lv.name,
            "lv_size": str(lv.room if lv.kind == "snapshot" else lv.size),
            "lv_attr": _attr(lv),
            "lv_tags": ",".join(sorted(lv.tags)),
            "origin": lv.origin,
            "pool_lv": "vaf-thinpool" if lv.kind == "thin" else "",
            "segtype": "linear" if lv.kind == "snapshot" else lv.kind,
            "metadata_percent": f"{vg.metadata:.2f}" if lv.kind == "thin-pool" else "",
            "lv_time": str(int(lv.created)),
            "zero": "zero" if lv.kind == "thin-pool" and vg.zeroing else "",
            "lv_uuid": "",
            "chunk_size": "65536",
            "lv_when_full": "queue",
            "seg_monitor": "",
        }[name]

    def _percent(self, vg_name: str, vg: Vg, lv: Lv) -> str:
        if lv.kind == "thin-pool":
            return f"{self.used(vg_name, vg) * 100 / lv.size:.2f}"
        if lv.kind == "snapshot" and lv.active:
            return f"{lv.percent:.2f}"
        if lv.kind == "thin" and lv.active:
            return f"{self._allocated(vg_name, lv) * 100 / lv.size:.2f}"
        return ""


def _thin_ids(vg: Vg) -> dict[int, str]:
    return dict(enumerate(sorted(lv.name for lv in vg.lvs.values() if lv.kind == "thin"), 1))


def _delta(one: Path, other: Path, block: int = 65536) -> bytes:
    """A thin pool tells blocks by what was written, here by what they hold: different or not there at all."""
    lines = []
    with one.open("rb") as a, other.open("rb") as b:
        for number in range(max(one.stat().st_size, other.stat().st_size) // block):
            left, right = (os.pread(f.fileno(), block, number * block) for f in (a, b))
            kind = "different" if left.strip(b"\0") else "right_only"
            if left != right:
                lines.append(f'<{kind} begin="{number}" length="1"/>')
            elif right.strip(b"\0"):
                lines.append(f'<same begin="{number}" length="1"/>')
    head = f'<superblock uuid="" time="1" transaction="1" data_block_size="{block // 512}" nr_data_blocks="1">'
    return f'{head}<diff left="1" right="2">{"".join(lines)}</diff></superblock>'.encode()


def _parse(argv: Sequence[str]) -> tuple[str, dict[str, list[str]], list[str], int]:
    program, *rest = argv
    known = {**_OPTIONS[program], "--config": 1}
    if program not in LOOKING:
        known["--yes"] = 0
    options: dict[str, list[str]] = {}
    words: list[str] = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        assert word in known, f"unknown option {word} of {program}"
        assert word not in options or word.endswith("tag"), f"{word} twice"
        options.setdefault(word, []).extend(rest.pop(0) for _ in range(known[word]))
    [config] = options.pop("--config")
    found = _CONFIG.fullmatch(config)
    assert found, f"unknown configuration {config}"
    if program not in LOOKING:
        assert "--yes" in options, "a command that may ask must not"
        del options["--yes"]
    return program, options, words, int(found[1] or 100)


def _report(options: dict[str, list[str]]) -> list[str]:
    assert (options["--reportformat"], options["--units"]) == (["json"], ["b"])
    assert "--nosuffix" in options
    return options["-o"][0].split(",")


def _vg(vgs: dict[str, Vg], words: list[str]) -> tuple[str, Vg]:
    [name] = words
    if name not in vgs:
        raise Refused(f'Volume group "{name}" not found\nCannot process volume group {name}')
    return name, vgs[name]


def _lv(vgs: dict[str, Vg], words: list[str]) -> tuple[str, Vg, Lv]:
    [path] = words
    vg_name, _, name = path.partition("/")
    _, vg = _vg(vgs, [vg_name])
    if name not in vg.lvs:
        raise Refused(f'Failed to find logical volume "{path}"')
    return vg_name, vg, vg.lvs[name]


def _origin(vg_name: str, vg: Vg, name: str) -> Lv:
    if name not in vg.lvs:
        raise Refused(f"Snapshot origin LV {name} not found in Volume group {vg_name}.")
    return vg.lvs[name]


def _fresh(vg_name: str, vg: Vg, options: dict[str, list[str]], kind: str, size: int) -> Lv:
    [name] = options["-n"]
    if name in vg.lvs:
        raise Refused(f'Logical Volume "{name}" already exists in volume group "{vg_name}"')
    return Lv(name, size, kind)


def _allocate(vg_name: str, vg: Vg, lv: Lv, size: int) -> None:
    if size > vg.free:
        free, wanted = vg.free // EXTENT, size // EXTENT
        raise Refused(f'Volume group "{vg_name}" has insufficient free space ({free} extents): {wanted} required.')
    if lv.kind == "snapshot":
        lv.room = size


def _cow_room(options: dict[str, list[str]], size: int, lv: Lv) -> int:
    """What a classic snapshot takes: as asked, but never more than it can ever use (header, tables, every chunk)."""
    lv.chunk = int(options["-c"][0].removesuffix("b"))
    assert 4096 <= lv.chunk <= 512 * 1024
    assert lv.chunk & (lv.chunk - 1) == 0
    return min(_bytes(options, "-L"), -(-cow_needs(size, lv.chunk) // EXTENT) * EXTENT)


def cow_needs(size: int, chunk: int) -> int:
    """Bytes that the kernel writes to a classic snapshot of `size` bytes when every chunk changes.

    drivers/md/dm-snap-persistent.c: a header; areas of one table chunk and as many data chunks as it has entries of 16
    bytes; when an area is full the next one is begun at once.
    """
    chunks, per_area = -(-size // chunk), chunk // 16
    return (1 + chunks + chunks // per_area + 1) * chunk


def _bytes(options: dict[str, list[str]], option: str) -> int:
    [text] = options[option]
    assert text.endswith("b")
    size = int(text.removesuffix("b"))
    assert size > 0
    assert size % 512 == 0
    return -(-size // EXTENT) * EXTENT


def _tags(options: dict[str, list[str]], option: str) -> set[str]:
    tags = set(options.get(option, ()))
    assert all(_TAG.fullmatch(t) for t in tags), f"not acceptable to LVM: {tags}"
    return tags


def _closed(vg_name: str, lv: Lv) -> None:
    if lv.opened:
        raise Refused(f"Logical volume {vg_name}/{lv.name} in use.")


def _physical(lv: Lv) -> int:
    return {"thin": 0, "snapshot": lv.room}.get(lv.kind, lv.size)


def _attr(lv: Lv) -> str:
    kind = {"thin": "V", "thin-pool": "t", "snapshot": "s"}.get(lv.kind, "-")
    state = ("I" if lv.overflowed else "a") if lv.active else "-"
    return f"{kind}{'r' if lv.readonly else 'w'}i-{state}{'o' if lv.opened else '-'}---{'k' if lv.skip else '-'}"


def written(fd: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """The parts [start, end) of a file that are not holes."""
    size = os.fstat(fd).st_size
    while start < size:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError:  # nothing but a hole
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
        start = end


def _copy_sparse(old: Path, new: Path) -> None:
    with old.open("rb") as source, new.open("wb") as target:
        target.truncate(os.fstat(source.fileno()).st_size)
        for start, end in written(source.fileno()):
            os.pwrite(target.fileno(), os.pread(source.fileno(), end - start, start), start)

"""Node: a hypervisor for the tests of the deeds: a fake LVM, real lock files, real files as datastores.

<root>/lvm        FakeLvm's state            <root>/lock   lock_dir
<root>/dev        links to active volumes    <root>/ds/1   the image datastore     <root>/ds/0/<VM>   VM directories
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.fakes.host import FakeHost, Fault
from tests.fakes.lvm import EXTENT, FakeLvm, Lv, Vg, written
from vafnebula import names
from vafnebula.model import Clone, Delete, DiskRef, Image, Link, MakeImage, MakeSwap, Save, Settings
from vafnebula.model_points import PostBackup, PreBackup, Resize, Restore, SaveAs, SnapCreate, SnapDelete, SnapRevert
from vafnebula.node import source

VG = "vg-one-0"
VM = 7
IMAGE = 1024 * 1024 + 512  # a hole in its middle and a last sector in a block of its own


@dataclass(frozen=True)
class Picture:
    """What there is on a node, as far as a deed can leave something behind."""

    volumes: dict[str, tuple[object, ...]]
    files: dict[str, str]


@dataclass
class Node:
    root: Path
    mode: str = "thin"
    settings: Settings = field(init=False)
    lvm: FakeLvm = field(init=False)

    def __post_init__(self) -> None:
        for part in ("dev", "lock", "ds/1", "ds/0"):
            (self.root / part).mkdir(parents=True)
        self.lvm = FakeLvm(self.root / "lvm", self.root / "dev")
        # No test may wait: who meets a lock is refused.
        self.settings = Settings(mode=self.mode, lock_dir=str(self.root / "lock"), lock_wait=0, cow_chunk=4096)
        with self.lvm.metadata() as vgs:
            vgs[VG] = Vg(size=64 * EXTENT)
            if self.mode == "thin":
                vgs[VG].lvs[names.THIN_POOL] = Lv(names.THIN_POOL, 32 * EXTENT, "thin-pool")

    def host(self, fault: Fault | None = None) -> FakeHost:
        """A new run of the node half on this node."""
        return FakeHost(self.lvm, fault)

    # --- requests

    def image(self, name: str = "img", content: bytes | None = None) -> Image:
        """An image of the datastore, made if it is not there."""
        path = self.root / "ds/1" / name
        if content is not None or not path.exists():
            with path.open("wb") as f:
                if content is None:
                    f.write(b"first sector of " + name.encode())
                    f.seek(IMAGE - 512)
                    f.write(b"last".ljust(512, b"."))
                else:
                    f.write(content)
        return Image(1, str(path))

    def disk(self, vm: int = VM, disk: int = 0, seq: int = 0) -> DiskRef:
        return DiskRef(vm, disk, seq, 0, str(self.root / f"ds/0/{vm}"))

    def clone(self, vm: int = VM, *, name: str = "img", size: int = 0, seq: int = 0) -> Clone:
        return Clone(self.disk(vm, seq=seq), self.image(name), size)

    def link(self, *, readonly: bool = False, size: int = 0, seq: int = 0, name: str = "img") -> Link:
        return Link(self.disk(seq=seq), self.image(name), size, readonly)

    def swap(self, seq: int = 0) -> MakeSwap:
        return MakeSwap(self.disk(seq=seq), EXTENT, "swap")

    def scratch(self, filesystem: str = "ext4", size: int = 2 * EXTENT, seq: int = 0) -> MakeImage:
        return MakeImage(self.disk(seq=seq), size, filesystem, "scratch")

    def save(self) -> Save:
        return Save(self.disk(), self.image())

    def snap_create(self, snap: int = 0) -> SnapCreate:
        return SnapCreate(self.disk(seq=-1), snap)

    def snap_delete(self, snap: int = 0) -> SnapDelete:
        return SnapDelete(self.disk(seq=-1), snap)

    def snap_revert(self, snap: int = 0) -> SnapRevert:
        return SnapRevert(self.disk(seq=-1), snap)

    def resize(self, size: int) -> Resize:
        return Resize(self.disk(seq=-1), size)

    def save_as(self, snap: int = -1, name: str = "new") -> SaveAs:
        return SaveAs(self.disk(seq=-1), Image(1, str(self.root / "ds/1" / name)), snap)

    def prebackup(self, increment: int = 0, *, keep: bool = False, live: bool = True, disks: int = 1) -> PreBackup:
        directory = self.disk().directory
        numbers = list(range(disks))
        place = f"{directory}/backup"
        return PreBackup(VM, -1, 0, directory, place, numbers, increment, keep, live, "PFZNPjwvVk0+\n")

    def postbackup(self, last: int = -1, *, failed: bool = False) -> PostBackup:
        directory = self.disk().directory
        return PostBackup(VM, -1, 0, directory, f"{directory}/backup", [0], last, failed)

    def restore(self, *disks: int) -> Restore:
        return Restore(VM, -1, 0, self.disk().directory, list(disks))

    def delete(self, disk: int = 0, vm: int = VM) -> Delete:
        return Delete(vm, disk, 0, self.disk(vm).directory)

    def key(self, name: str = "img", size: int = 0) -> str:
        """The key of an image's origin."""
        found = source.inspect(self.image(name).path)
        thick = None if self.mode == "thin" else -(-max(size, found.size) // EXTENT) * EXTENT
        return names.origin_key(1, found.path, found.fingerprint, thick)

    def with_settings(self, **changes: object) -> Settings:
        return replace(self.settings, **changes)  # type: ignore[arg-type]

    # --- looking

    def volumes(self, vg: str = VG) -> dict[str, Lv]:
        with self.lvm.metadata() as vgs:
            return dict(vgs[vg].lvs)

    def disk_volumes(self) -> list[str]:
        return sorted(n for n in self.volumes() if n.startswith("lv-one-"))

    def origins(self) -> list[str]:
        return sorted(n for n in self.volumes() if n.startswith(names.ORIGIN_PREFIX))

    def disk_holds(self, content: bytes, ref: DiskRef | None = None) -> bool:
        """Whether a VM reads `content` and then nothing but zeros from its disk, through the published link."""
        return holds(Path((ref or self.disk()).link), content)

    def volume_holds(self, name: str, content: bytes) -> bool:
        return holds(self.lvm.file(VG, name), content)

    def image_content(self, name: str = "img") -> bytes:
        return Path(self.image(name).path).read_bytes()

    def picture(self) -> Picture:
        volumes: dict[str, tuple[object, ...]] = {
            lv.name: (lv.kind, lv.size, lv.origin, frozenset(lv.tags), lv.readonly) for lv in self.volumes().values()
        }
        files = {}
        for directory, _, found in os.walk(self.root / "ds"):
            for name in found:
                path = f"{directory}/{name}"
                status = os.lstat(path)
                whole = f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
                files[path] = os.readlink(path) if os.path.islink(path) else whole
        return Picture(volumes, files)

    # --- changing, as the world does

    def age(self, seconds: float) -> None:
        """Let time pass: every volume and every use of an origin becomes older."""
        with self.lvm.metadata() as vgs:
            for vg in vgs.values():
                for lv in vg.lvs.values():
                    lv.created -= seconds
        for path in (self.root / "lock").iterdir():
            status = path.stat()
            os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))

    def change(self, name: str, **attributes: object) -> None:
        """Set attributes of a volume, e.g. opened=True."""
        with self.lvm.metadata() as vgs:
            for key, value in attributes.items():
                setattr(vgs[VG].lvs[name], key, value)

    def tag(self, name: str, tag: str) -> None:
        with self.lvm.metadata() as vgs:
            vgs[VG].lvs[name].tags.add(tag)

    def occupy(self, free: int) -> None:
        """Leave `free` bytes of the thin pool (below 100 %), or of the VG in mode thick, to us."""
        with self.lvm.metadata() as vgs:
            vg = vgs[VG]
            if self.mode == "thin":
                vg.foreign = 0
                vg.foreign = vg.lvs[names.THIN_POOL].size - self.lvm.used(VG, vg) - free
            else:
                vg.lvs.pop("filler", None)
                vg.lvs["filler"] = Lv("filler", vg.free - free, "linear", active=False)

    def write_disk(self, name: str, content: bytes) -> None:
        """A guest writes at the start of its disk."""
        with self.lvm.file(VG, name).open("r+b") as f:
            f.write(content)


def holds(path: Path, content: bytes) -> bool:
    """Whether a file begins with `content` and reads zeros from there on."""
    with path.open("rb") as f:
        if f.read(len(content)) != content:
            return False
        return all(
            os.pread(f.fileno(), end - start, start) == bytes(end - start)
            for start, end in written(f.fileno(), len(content))
        )


class NodeMaker:
    """Makes nodes, one after the other; the devices are the newest one's."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.monkeypatch = monkeypatch
        self.count = 0
        monkeypatch.setattr(os, "fsync", lambda fd: None)  # no power is cut here, and it costs most of the time

    def __call__(self, mode: str = "thin") -> Node:
        self.count += 1
        node = Node(self.root / f"node{self.count}", mode)
        self.monkeypatch.setattr(names, "DEVICES", str(node.root / "dev"))
        return node

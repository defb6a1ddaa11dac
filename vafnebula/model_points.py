"""Requests about points in time of a disk: disk snapshots, growth, images of it, backups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vafnebula.model import DiskRef, Image


@dataclass(frozen=True)
class SnapCreate:
    """Make disk snapshot `snap`.  `disk.seq` does not matter here and below."""

    verb: ClassVar[str] = "snap_create"
    disk: DiskRef
    snap: int


@dataclass(frozen=True)
class SnapDelete:
    verb: ClassVar[str] = "snap_delete"
    disk: DiskRef
    snap: int


@dataclass(frozen=True)
class SnapRevert:
    """Make the disk what disk snapshot `snap` holds."""

    verb: ClassVar[str] = "snap_revert"
    disk: DiskRef
    snap: int


@dataclass(frozen=True)
class Resize:
    """Let the disk have at least `size` bytes."""

    verb: ClassVar[str] = "resize"
    disk: DiskRef
    size: int


@dataclass(frozen=True)
class SaveAs:
    """Copy the disk, or its disk snapshot `snap` if that is not -1, into the new file of `image`."""

    verb: ClassVar[str] = "cpds"
    disk: DiskRef
    image: Image
    snap: int


@dataclass(frozen=True)
class PreBackup:
    """Make files of the VM's `disks` in directory `place`, for backup `increment` (0 is a full one).

    `keep` the snapshots for the next increment.  `record` is what vm.xml shall hold, `live` whether the VM runs.
    """

    verb: ClassVar[str] = "prebackup"
    vm: int
    disk: int
    sds: int
    directory: str
    place: str
    disks: list[int]
    increment: int
    keep: bool
    live: bool
    record: str


@dataclass(frozen=True)
class PostBackup:
    """Remove what a backup left behind; `last` is the last increment that OpenNebula has, -1 for none."""

    verb: ClassVar[str] = "postbackup"
    vm: int
    disk: int
    sds: int
    directory: str
    place: str
    disks: list[int]
    last: int
    failed: bool


@dataclass(frozen=True)
class Restore:
    """Put the images `disk.<N>` in `<directory>/.restore`, for N in `disks`, in the place of the VM's disks."""

    verb: ClassVar[str] = "restore"
    vm: int
    disk: int
    sds: int
    directory: str
    disks: list[int]

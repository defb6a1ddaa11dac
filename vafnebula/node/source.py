"""An image file on the mounted datastore: what it is, and whether it is still the same."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from vafnebula import errors, units
from vafnebula.node import qcow2

RAW, QCOW2 = "raw", "qcow2"


@dataclass(frozen=True)
class Source:
    """An image file.  `size` is what the guest will see, `file_size` what is on disk (both bytes).

    `fingerprint` is size, mtime in ns and inode.  GlusterFS derives the inode from the file's gfid, so it is the
    same on every client.
    """

    path: str
    fingerprint: str
    format: str
    size: int
    file_size: int


def inspect(path: str) -> Source:
    """Look at the image file `path`.  Raises ImageMissing, ImageUnusable."""
    try:
        # O_NONBLOCK: a fifo in the datastore must not hang us before we see what it is.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as e:
        raise errors.ImageMissing(path=path, why=e.strerror) from e
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise errors.ImageUnusable(path=path, why=f"it is {kind}", advice="correct the image's SOURCE")
        if status.st_size == 0:
            raise errors.ImageUnusable(path=path, why="it is empty", advice="register it again")
        head = os.pread(fd, qcow2.HEADER, 0)
    except OSError as e:
        raise errors.ImageMissing(path=path, why=e.strerror) from e
    finally:
        os.close(fd)
    header = qcow2.parse(head, path)
    return Source(
        path=path,
        fingerprint=f"{status.st_size}.{status.st_mtime_ns}.{status.st_ino}",
        format=QCOW2 if header else RAW,
        size=header.size if header else status.st_size,
        file_size=status.st_size,
    )


def disk_size(found: Source, wanted: int) -> int:
    """The size of a disk for which OpenNebula wants `wanted` bytes (0: the image's own).  Raises ImageTooLarge."""
    if 0 < wanted < found.size:
        raise errors.ImageTooLarge(image=found.size, disk=wanted, mib=-(-found.size // units.MIB))
    return wanted or found.size


def require_unchanged(source: Source) -> None:
    """Raises ImageChanged unless the file still has `source`'s fingerprint."""
    try:
        same = inspect(source.path).fingerprint == source.fingerprint
    except errors.Error:
        same = False
    if not same:
        raise errors.ImageChanged(path=source.path)


def data_extents(path: str) -> list[tuple[int, int]]:
    """The parts [start, end) of a file that hold data, by SEEK_DATA; one whole extent where that is unsupported."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        extents, position = [], 0
        while position < size:
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
            except OSError as e:
                if e.errno == errno.ENXIO:  # nothing but hole from here to the end
                    break
                return [(0, size)]
            end = os.lseek(fd, start, os.SEEK_HOLE)
            extents.append((start, end))
            position = end
        return extents
    finally:
        os.close(fd)


def reads_direct(path: str) -> bool:
    """Whether `path` can be opened with O_DIRECT (GlusterFS and volumes can, some overlay file systems cannot)."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT))
    except OSError:
        return False
    return True

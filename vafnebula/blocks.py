"""Block devices and files as blocks: what differs from a base, putting that elsewhere, and proving that it is there.

A base is another device whose content the receiver has too; None stands for zeros.  Both may be of any size: beyond its
end a base reads zeros.  Reads go around the page cache where that can be had: what is compared or proven is the disk.
"""

from __future__ import annotations

import errno
import mmap
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence

from vafnebula import errors, names, units
from vafnebula.names import hasher
from vafnebula.wire import LARGEST, Change

GRAIN = 4096  # bytes: what a guest's file system writes at least, and what is looked at one by one
Range = tuple[int, int]  # [start, end) in bytes


class Device:
    """A device or file, open for reading; unbuffered and direct if possible."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
        except OSError:  # some file systems have no direct I/O
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._buffer = mmap.mmap(-1, LARGEST)  # page-aligned, as direct I/O wants it
        self.size = os.lseek(self._fd, 0, os.SEEK_END)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self._buffer.close()
        os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes (at most LARGEST) at `offset`, a multiple of GRAIN; zeros beyond the end."""
        wanted = max(0, min(length, self.size - offset))
        got = 0
        while got < wanted:
            step = units.round_up(length - got, GRAIN)
            n = os.preadv(self._fd, [memoryview(self._buffer)[got : got + step]], offset + got)
            if n <= 0:
                raise errors.CopyFailed(source=self.path, why=f"it ends at {offset + got} bytes")
            got += n
        return self._buffer[:wanted] + bytes(length - wanted)

    def data(self) -> list[Range]:
        """The parts that hold data, by SEEK_DATA; all of it where that is unsupported (block devices)."""
        found: list[Range] = []
        position = 0
        while position < self.size:
            try:
                start = os.lseek(self._fd, position, os.SEEK_DATA)
                end = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as e:
                return found if e.errno == errno.ENXIO else [(0, self.size)]  # ENXIO: a hole to the end
            found.append((start, end))
            position = end
        return found


def differences(disk: Device, base: Device | None, ranges: Iterable[Range] | None = None) -> Iterator[Change]:
    """What `disk` has other than `base`, in order.  `ranges`: nothing else can differ; None says nothing.

    Reads the ranges of both; runs of blocks that differ are cut at LARGEST.
    """
    whole = [(0, disk.size)] if ranges is None else ranges
    for start, end in whole:
        position = start // GRAIN * GRAIN
        while position < end:
            length = min(LARGEST, end - position, disk.size - position)
            if length <= 0:
                break
            new = disk.read(position, length)
            old = base.read(position, length) if base else bytes(length)
            if new != old:
                yield from _runs(new, old, position)
            position += length


def _runs(new: bytes, old: bytes, position: int) -> Iterator[Change]:
    """The runs of GRAINs that differ; a run of zeros is one without data."""
    begin, kind = 0, 0  # kind of the run that began: 0 none (same), 1 data, 2 zeros
    zeros = bytes(GRAIN)
    for at in range(0, len(new), GRAIN):
        block = new[at : at + GRAIN]
        this = 0 if block == old[at : at + GRAIN] else 2 if block == zeros[: len(block)] else 1
        if this != kind:
            if kind:
                yield _change(new, begin, at, position, kind)
            begin, kind = at, this
    if kind:
        yield _change(new, begin, len(new), position, kind)


def _change(new: bytes, begin: int, end: int, position: int, kind: int) -> Change:
    return Change(position + begin, end - begin, new[begin:end] if kind == 1 else None)


class Sink:
    """A device or file that changes are put on, and then proven: everything that came is read back.

    Changes must come in order, must not overlap and must lie within `size`, or CopyFailed is raised.
    """

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (0 if path.startswith(names.DEVICES) else os.O_NOFOLLOW))
        self._records = array("Q")  # offset, length, 1 for data; 24 bytes each
        self._position = 0

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def put(self, change: Change) -> None:
        if change.offset < self._position or change.offset + change.length > self.size:
            raise errors.CopyFailed(source=self.path, why="a record lies outside of it or out of order")
        self._position = change.offset + change.length
        data = change.data
        if data is None and change.length < LARGEST:  # less work than asking the device
            data = bytes(change.length)
        if data is not None:
            view, offset = memoryview(data), change.offset
            while view:
                n = os.pwrite(self._fd, view, offset)
                view, offset = view[n:], offset + n
        self._records.extend((change.offset, change.length, int(change.data is not None)))

    def zeros(self) -> Iterator[Range]:
        """Large ranges that shall read zeros, neighbours joined: the caller makes them do so before `prove`."""
        begin = end = 0
        for offset, length, data in _triples(self._records):
            if data or length < LARGEST:
                continue
            if offset != end:
                if end > begin:
                    yield begin, end
                begin = offset
            end = offset + length
        if end > begin:
            yield begin, end

    def flush(self) -> None:
        os.fsync(self._fd)
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def prove(self, digest: bytes) -> None:
        """Read back what was put.  Raises CopyFailed unless it has the `digest` that came with it."""
        found = hasher()
        with Device(self.path) as device:
            for offset, length, data in _triples(self._records):
                content = device.read(offset, length) if data else None
                found.update(Change(offset, length, content).frame())
                if content is not None:
                    found.update(content)
                elif not _reads_zero(device, offset, length):
                    raise errors.CopyFailed(source=self.path, why=f"it does not read zeros at {offset}")
        if found.digest() != digest:
            raise errors.CopyFailed(source=self.path, why="what was written does not compare equal")


def copy(changes: Iterable[Change], sink: Sink) -> None:
    """Put all of `changes` on `sink`, flush it, and prove it.  Raises CopyFailed."""
    digest = hasher()
    for change in changes:
        digest.update(change.frame())
        if change.data is not None:
            digest.update(change.data)
        sink.put(change)
    sink.flush()
    sink.prove(digest.digest())


def _reads_zero(device: Device, offset: int, length: int) -> bool:
    for at in range(offset, offset + length, LARGEST):
        step = min(LARGEST, offset + length - at)
        if device.read(at, step) != bytes(step):
            return False
    return True


def _triples(flat: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    return zip(flat[0::3], flat[1::3], flat[2::3])

"""Differences, and putting them elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import blocks, errors
from vafnebula.blocks import GRAIN, Device, Sink
from vafnebula.wire import LARGEST, Change

SIZE = LARGEST + 8 * GRAIN  # more than one read


def file(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def blocky(pattern: list[int], size: int) -> bytes:
    """A block of the number for each number, repeated to `size`."""
    return b"".join(bytes([n]) * GRAIN for n in pattern).ljust(size, b"\0")[:size]


patterns = st.lists(st.integers(0, 2), max_size=6)


@given(patterns, patterns, st.integers(1, 6 * GRAIN), st.integers(1, 6 * GRAIN))
def test_a_base_and_its_differences_give_the_disk(old: list[int], new: list[int], size: int, other: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as where:
        root = Path(where)
        disk, base = file(root / "disk", blocky(new, size)), file(root / "base", blocky(old, other))
        copy = file(root / "copy", blocky(old, other)[:size].ljust(size, b"\0"))
        with Device(disk) as d, Device(base) as b:
            changes = list(blocks.differences(d, b))
        with Sink(copy, size) as sink:
            for change in changes:
                if change.data is None:
                    os.pwrite(sink._fd, bytes(change.length), change.offset)
            blocks.copy(changes, sink)
        assert Path(copy).read_bytes() == Path(disk).read_bytes()


def test_only_what_differs_is_told(tmp_path: Path) -> None:
    old = os.urandom(SIZE)
    new = bytearray(old)
    new[5 * GRAIN] ^= 1
    new[9 * GRAIN : 11 * GRAIN] = bytes(2 * GRAIN)
    new[LARGEST : LARGEST + 2 * GRAIN] = b"x" * (2 * GRAIN)
    with Device(file(tmp_path / "new", bytes(new))) as disk, Device(file(tmp_path / "old", old)) as base:
        told = [(c.offset, c.length, c.data is None) for c in blocks.differences(disk, base)]
        assert told == [
            (5 * GRAIN, GRAIN, False),
            (9 * GRAIN, 2 * GRAIN, True),
            (LARGEST, 2 * GRAIN, False),
        ]
        ranges = [(LARGEST, SIZE)]
        assert [c.offset for c in blocks.differences(disk, base, ranges)] == [LARGEST]


def test_holes_are_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as f:
        f.truncate(64 * LARGEST)
        f.seek(63 * LARGEST)
        f.write(b"x")
    with Device(str(path)) as disk:
        assert sum(end - start for start, end in disk.data()) <= LARGEST
        [change] = blocks.differences(disk, None, disk.data())
    assert (change.offset, change.length) == (63 * LARGEST, GRAIN)


@pytest.mark.parametrize(
    "changes",
    [
        [Change(8192, 4096, b"x" * 4096), Change(0, 4096, None)],
        [Change(16384, 4096, b"x" * 4096)],
        [Change(0, 8192, None), Change(4096, 4096, None)],
    ],
)
def test_records_out_of_order_or_outside_are_refused(tmp_path: Path, changes: list[Change]) -> None:
    path = file(tmp_path / "f", bytes(16384))
    with Sink(path, 16384) as sink, pytest.raises(errors.CopyFailed, match="out of order"):
        blocks.copy(changes, sink)


def test_what_is_not_there_is_noticed(tmp_path: Path) -> None:
    path = file(tmp_path / "f", bytes(16384))
    with Sink(path, 16384) as sink:
        sink.put(Change(0, 4096, b"x" * 4096))
        sink.flush()
        Path(path).write_bytes(bytes(16384))  # a disk that lost it
        with pytest.raises(errors.CopyFailed, match="does not compare equal"):
            sink.prove(b"\0" * 32)
    path = file(tmp_path / "large", b"y" * 3 * LARGEST)
    with Sink(path, 3 * LARGEST) as sink:
        changes = [Change(at * LARGEST, LARGEST, None) for at in range(2)]
        with pytest.raises(errors.CopyFailed, match="does not read zeros at 0"):
            blocks.copy(changes, sink)
        assert list(sink.zeros()) == [(0, 2 * LARGEST)], "who has the means shall do it, in one go"


def test_small_zeros_are_written(tmp_path: Path) -> None:
    path = file(tmp_path / "f", b"y" * 16384)
    with Sink(path, 16384) as sink:
        blocks.copy([Change(4096, 8192, None)], sink)
        assert list(sink.zeros()) == []
    assert Path(path).read_bytes() == b"y" * 4096 + bytes(8192) + b"y" * 4096


def test_a_link_in_place_of_a_file_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file(tmp_path / "f", b"precious"))
    with pytest.raises(OSError, match="symbolic"):
        Sink(str(tmp_path / "link"), 8)

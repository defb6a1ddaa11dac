"""Copies with the real dd, cmp and qemu-img; regular files stand in for devices."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.child import Child
from vafnebula import errors, process
from vafnebula.node import blockcopy, source
from vafnebula.node.blockcopy import BLOCK, MERGE, SECTOR
from vafnebula.node.host import Host

MIB = 1 << 20
EXTENT = 4 * MIB
SECRET = b"old tenant's secret\n" * (MIB // 20)


class FileHost(Host):
    """The real Host, but for what needs a block device."""

    def copy(self, argvs: Sequence[Sequence[str]], locks: Sequence[int]) -> list[process.Completed]:
        return super().copy([[w.replace("host_device", "file") for w in argv] for argv in argvs], locks)

    def zero(self, device: str, offset: int, length: int) -> None:
        assert offset % 512 == length % 512 == 0
        with open(device, "r+b") as f:
            os.pwrite(f.fileno(), bytes(length), offset)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory where O_DIRECT works, as it does on volumes and GlusterFS; holes of 2 MiB are large there."""
    monkeypatch.setattr(blockcopy, "MERGE", 2 * MIB)
    for directory in (tmp_path, Path("/var/tmp"), Path.cwd()):
        probe = directory / f"probe-{os.getpid()}"
        probe.write_bytes(bytes(SECTOR))
        direct = source.reads_direct(str(probe))
        probe.unlink()
        if direct:
            yield directory
            return
    pytest.fail("no file system with O_DIRECT for the tests: set TMPDIR")


# --- the plan

extents = st.lists(st.integers(1, 200 * MIB), max_size=24).map(
    lambda steps: [
        (sum(steps[: i + 1]), sum(steps[: i + 2])) for i in range(0, len(steps) - 1, 2)
    ]  # sorted and disjoint: hole, data, hole, data, ...
)


@settings(max_examples=50)
@given(extents=extents, streams=st.integers(1, 8))
def test_every_byte_of_data_is_copied_exactly_once(extents: list[tuple[int, int]], streams: int) -> None:
    lanes = blockcopy.plan(extents, streams)
    runs = sorted(run for lane in lanes for run in lane)
    assert all(start < end and start % BLOCK == end % BLOCK == 0 for start, end in runs)
    assert all(before[1] <= after[0] for before, after in zip(runs, runs[1:]))
    for start, end in extents:
        covered = sum(max(0, min(end, b) - max(start, a)) for a, b in runs)
        assert covered == end - start


@settings(max_examples=50)
@given(extents=extents, streams=st.integers(1, 8))
def test_the_streams_have_about_equal_work(extents: list[tuple[int, int]], streams: int) -> None:
    work = [sum(end - start for start, end in lane) for lane in blockcopy.plan(extents, streams)]
    assert len(work) <= streams
    assert all(one == work[0] for one in work[:-1])
    assert not work or 0 < work[-1] <= work[0]


@settings(max_examples=50)
@given(extents=extents, streams=st.integers(1, 8))
def test_near_extents_are_read_through(extents: list[tuple[int, int]], streams: int) -> None:
    [lane] = blockcopy.plan(extents, 1) or [[]]
    assert all(after[0] - before[1] >= MERGE for before, after in zip(lane, lane[1:]))
    data = sum(end - start for start, end in extents)
    assert sum(end - start for start, end in lane) <= data + len(extents) * (MERGE + 2 * BLOCK)


@settings(max_examples=50)
@given(extents=extents, rest=st.integers(0, 400 * MIB))
def test_runs_and_gaps_are_all_and_do_not_overlap(extents: list[tuple[int, int]], rest: int) -> None:
    runs = [run for lane in blockcopy.plan(extents, 3) for run in lane]
    size = max((end for _, end in runs), default=0) + rest
    found = blockcopy.gaps(runs, size)
    assert all(start < end for start, end in found)
    pieces = sorted([*found, *runs])
    assert sum(end - start for start, end in pieces) == size
    assert all(before[1] == after[0] for before, after in zip(pieces, pieces[1:]))


def test_no_data_needs_no_copy() -> None:
    assert blockcopy.plan([], 4) == []
    assert blockcopy.gaps([], EXTENT) == [(0, EXTENT)]


# --- images

SIZES = {"a byte": 1, "511": 511, "1 MiB + 1": MIB + 1, "3 MiB - 512": 3 * MIB - 512, "4 MiB": 4 * MIB}


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def write(path: Path, size: int, data: Sequence[tuple[int, int]]) -> bytes:
    """An image of `size` bytes with noise in the given extents and holes elsewhere; its content."""
    with path.open("wb") as f:
        f.truncate(size)
        for start, end in data:
            os.pwrite(f.fileno(), noise(end - start), start)
    return path.read_bytes()


FAR = 5 * MIB  # farther apart than MERGE
SHAPES: dict[str, tuple[int, list[tuple[int, int]]]] = {
    **{name: (size, [(0, size)]) for name, size in SIZES.items()},
    "nothing but a hole": (3 * MIB + 7, []),
    "hole at the start": (FAR + MIB + 5, [(FAR, FAR + MIB + 5)]),
    "hole in the middle": (FAR + MIB, [(0, MIB + 1), (FAR, FAR + MIB)]),
    "hole at the end": (FAR + 3, [(0, MIB)]),
    "10 % holes": (5 * MIB, [(0, 4 * MIB + MIB // 2)]),
    "50 % holes": (2 * FAR, [(0, FAR // 2), (FAR + FAR // 2, 2 * FAR)]),
    "90 % holes": (2 * FAR, [(0, FAR // 10), (2 * FAR - FAR // 10 - 512, 2 * FAR - 512)]),
    "many small extents": (FAR, [(n * 81_920, n * 81_920 + 4096) for n in range(60)]),
}


def device(place: Path, size: int, *, zeroed: bool) -> Path:
    path = place / "device"
    with path.open("wb") as f:
        f.truncate(size)
        if not zeroed:
            for offset in range(0, size, MIB):
                os.pwrite(f.fileno(), SECRET[: min(MIB, size - offset)].ljust(min(MIB, size - offset), b"!"), offset)
    return path


def check_fill(place: Path, image: Path, content: bytes, *, zeroed: bool, streams: int) -> int:
    found = source.inspect(str(image))
    size = -(-found.size // EXTENT) * EXTENT
    target = device(place, size, zeroed=zeroed)
    with (place / "lock").open("w") as lock:
        copied = blockcopy.fill(
            FileHost(), found, str(target), size, zeroed=zeroed, streams=streams, locks=[lock.fileno()]
        )
        blockcopy.compare(FileHost(), str(image), found.format, str(target), found.size, [lock.fileno()])
    read = target.read_bytes()
    assert read[: len(content)] == content
    assert not read[len(content) :].strip(b"\0")
    assert len(read) == size
    return copied


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("zeroed", "streams"), [(True, 1), (False, 1), (True, 4), (False, 3)])
def test_a_filled_device_holds_the_image_and_then_zeros(place: Path, shape: str, zeroed: bool, streams: int) -> None:
    size, data = SHAPES[shape]
    image = place / "image"
    content = write(image, size, data)
    copied = check_fill(place, image, content, zeroed=zeroed, streams=streams)
    assert sum(end - start for start, end in data) <= copied <= size


@pytest.mark.parametrize("streams", [1, 2, 3, 4])
def test_the_bytes_are_counted_whatever_the_number_of_streams(place: Path, streams: int) -> None:
    size = 7 * MIB + 13
    content = write(place / "image", size, [(0, size)])
    assert check_fill(place, place / "image", content, zeroed=True, streams=streams) == size


def test_holes_stay_holes_on_a_device_that_reads_zeros(place: Path) -> None:
    size, data = SHAPES["90 % holes"]
    content = write(place / "image", size, data)
    assert check_fill(place, place / "image", content, zeroed=True, streams=1) <= size // 10 + 3 * BLOCK
    assert (place / "device").stat().st_blocks * 512 <= size // 10 + 3 * BLOCK


def test_written_zeros_are_not_written_again_to_a_device_that_reads_zeros(place: Path) -> None:
    (place / "image").write_bytes(bytes(8 * MIB) + b"x")
    check_fill(place, place / "image", bytes(8 * MIB) + b"x", zeroed=True, streams=2)
    assert (place / "device").stat().st_blocks * 512 <= BLOCK


@pytest.mark.parametrize("zeroed", [True, False])
@pytest.mark.parametrize("options", [[], ["-c"], ["-o", "compat=0.10"], ["-o", "cluster_size=512"]])
def test_a_qcow2_image_is_filled_as_its_virtual_disk(place: Path, options: list[str], zeroed: bool) -> None:
    content = write(place / "raw", 5 * MIB + 512, [(MIB, 2 * MIB), (5 * MIB, 5 * MIB + 100)])
    image = place / "image,with=comma"
    process.run(["qemu-img", "convert", "-O", "qcow2", *options, str(place / "raw"), str(image)], timeout=60)
    assert check_fill(place, image, content, zeroed=zeroed, streams=2) == image.stat().st_size


def test_an_image_on_a_file_system_without_direct_reads_is_copied_all_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockcopy, "reads_direct", lambda path: False)
    content = write(place / "image", MIB + 1, [(0, MIB + 1)])
    check_fill(place, place / "image", content, zeroed=True, streams=1)


# --- what goes wrong


def fill(place: Path, found: source.Source, host: Host | None = None, *, zeroed: bool = True) -> None:
    target = place / "device"
    if not target.exists():
        device(place, 2 * EXTENT, zeroed=zeroed)
    blockcopy.fill(host or FileHost(), found, str(target), 2 * EXTENT, zeroed=zeroed, streams=2, locks=[])


@pytest.mark.parametrize("left", [0, 1, MIB, 5 * MIB - 1])
def test_an_image_cut_off_while_it_is_copied_is_an_error(place: Path, left: int) -> None:
    class Cutting(FileHost):
        def copy(self, argvs: Sequence[Sequence[str]], locks: Sequence[int]) -> list[process.Completed]:
            os.truncate(place / "image", left)
            return super().copy(argvs, locks)

    write(place / "image", 5 * MIB, [(0, 5 * MIB)])
    with pytest.raises(errors.CopyFailed, match="bytes were copied"):
        fill(place, source.inspect(str(place / "image")), Cutting())


def test_an_image_that_goes_away_is_an_error(place: Path) -> None:
    class Removing(FileHost):
        def copy(self, argvs: Sequence[Sequence[str]], locks: Sequence[int]) -> list[process.Completed]:
            (place / "image").unlink()
            return super().copy(argvs, locks)

    write(place / "image", MIB, [(0, MIB)])
    with pytest.raises(errors.CopyFailed, match="No such file"):
        fill(place, source.inspect(str(place / "image")), Removing())


def test_a_device_that_is_not_there_is_not_made(place: Path) -> None:
    write(place / "image", MIB, [(0, MIB)])
    found = source.inspect(str(place / "image"))
    with pytest.raises(errors.CopyFailed, match="No such file"):
        blockcopy.fill(FileHost(), found, str(place / "none"), EXTENT, zeroed=True, streams=1, locks=[])
    assert not (place / "none").exists()


def test_a_full_device_is_an_error(place: Path) -> None:
    def run(child: Child) -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))  # no byte behind it can be written
        with pytest.raises(errors.CopyFailed) as failure:
            fill(place, source.inspect(str(place / "image")))
        return str(failure.value)

    write(place / "image", 2 * MIB, [(0, 2 * MIB)])
    device(place, 2 * EXTENT, zeroed=True)
    assert "dd" in Child(run).result()


def test_a_damaged_qcow2_image_is_an_error(place: Path) -> None:
    write(place / "raw", MIB, [(0, MIB)])
    process.run(["qemu-img", "convert", "-O", "qcow2", str(place / "raw"), str(place / "image")], timeout=60)
    with (place / "image").open("r+b") as f:  # where the table of tables is said to be (QEMU's docs/interop/qcow2.txt)
        f.seek(int.from_bytes((place / "image").read_bytes()[40:48], "big"))
        f.write(b"\x7f" * 8)
    with pytest.raises(errors.CopyFailed, match="qemu-img"):
        fill(place, source.inspect(str(place / "image")))


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
@pytest.mark.parametrize("offset", [0, MIB, 3 * MIB - 1])
def test_one_wrong_byte_does_not_compare_equal(place: Path, image_format: str, offset: int) -> None:
    write(place / "raw", 3 * MIB, [(0, MIB)])
    process.run(["qemu-img", "convert", "-O", image_format, str(place / "raw"), str(place / "image")], timeout=60)
    target = device(place, EXTENT, zeroed=True)
    content = bytearray((place / "raw").read_bytes())
    content[offset] ^= 1
    with target.open("r+b") as f:
        f.write(content)
    with pytest.raises(errors.CopyFailed, match="does not compare equal"):
        blockcopy.compare(FileHost(), str(place / "image"), image_format, str(target), 3 * MIB, [])


# --- back


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
@pytest.mark.parametrize("size", [512, MIB + 512, 3 * MIB - 512, FAR])
def test_a_saved_image_holds_the_disk_and_not_the_rest_of_the_volume(place: Path, image_format: str, size: int) -> None:
    volume = -(-size // EXTENT) * EXTENT
    content = write(place / "device", volume, [(0, min(size, MIB)), (size, volume)])[:size]
    (place / "image").touch()
    blockcopy.save(FileHost(), str(place / "device"), size, str(place / "image"), image_format, [])
    blockcopy.compare(FileHost(), str(place / "image"), image_format, str(place / "device"), size, [])
    back = ["qemu-img", "convert", "-f", image_format, "-O", "raw", str(place / "image"), str(place / "back")]
    process.run(back, timeout=60)
    assert (place / "back").read_bytes() == content


@pytest.mark.parametrize("size", [1, 511, MIB + 1])
def test_a_raw_disk_of_any_size_is_saved(place: Path, size: int) -> None:
    content = write(place / "device", EXTENT, [(0, EXTENT)])[:size]
    (place / "image").touch()
    blockcopy.save(FileHost(), str(place / "device"), size, str(place / "image"), "raw", [])
    assert (place / "image").read_bytes() == content


def test_zeros_are_saved_as_holes(place: Path) -> None:
    write(place / "device", FAR, [(0, 4096), (FAR - 4096, FAR)])
    (place / "image").touch()
    blockcopy.save(FileHost(), str(place / "device"), FAR, str(place / "image"), "raw", [])
    assert (place / "image").stat().st_size == FAR
    assert (place / "image").stat().st_blocks * 512 <= 2 * BLOCK


def test_a_disk_cut_off_while_it_is_saved_is_an_error(place: Path) -> None:
    write(place / "device", MIB, [(0, MIB)])
    (place / "image").touch()
    with pytest.raises(errors.CopyFailed, match="only 1048576 of 2097152 bytes"):
        blockcopy.save(FileHost(), str(place / "device"), 2 * MIB, str(place / "image"), "raw", [])


def test_an_image_file_that_is_not_prepared_is_not_made(place: Path) -> None:
    write(place / "device", MIB, [(0, MIB)])
    with pytest.raises(errors.CopyFailed):
        blockcopy.save(FileHost(), str(place / "device"), MIB, str(place / "none"), "raw", [])
    assert not (place / "none").exists()

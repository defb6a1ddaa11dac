from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.child import Child
from vafnebula import errors, process
from vafnebula.node import blockcopy, source
from vafnebula.node.source import Source

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "img"
    path.write_bytes(b"x" * 1000)
    return path


def test_a_raw_image(image: Path) -> None:
    found = source.inspect(str(image))
    assert (found.format, found.size, found.file_size) == ("raw", 1000, 1000)


def test_a_qcow2_image_is_known_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "img.raw"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "5M"], timeout=60)
    found = source.inspect(str(path))
    assert (found.format, found.size, found.file_size) == ("qcow2", 5 * MIB, path.stat().st_size)


def test_a_link_to_an_image_is_an_image(image: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(image)
    assert source.inspect(str(tmp_path / "link")).fingerprint == source.inspect(str(image)).fingerprint


@pytest.mark.parametrize("name", ["none", "img/below", "x" * 300])
def test_an_image_that_is_not_there(image: Path, name: str) -> None:
    with pytest.raises(errors.ImageMissing):
        source.inspect(str(image.parent / name))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkdir, "a directory"),
        (os.mkfifo, "not a regular file"),
        (lambda path: os.symlink("/dev/null", path), "not a regular file"),
        (lambda path: Path(path).touch(), "empty"),
    ],
)
def test_what_is_no_image_is_refused_and_never_waited_for(
    tmp_path: Path, make: Callable[[str], None], why: str
) -> None:
    path = str(tmp_path / "img")
    make(path)
    with pytest.raises(errors.ImageUnusable, match=why):
        source.inspect(path)


def test_a_socket_cannot_be_opened(tmp_path: Path) -> None:
    os.mknod(tmp_path / "img", 0o140600)
    with pytest.raises(errors.ImageMissing):
        source.inspect(str(tmp_path / "img"))


def test_an_image_that_we_may_not_read(image: Path) -> None:
    image.chmod(0)
    for directory in image.parents:
        if directory.owner() == Path.home().owner() and directory.stat().st_mode & 0o77 == 0:
            directory.chmod(0o711)

    def run(child: Child) -> str:
        if os.getuid() == 0:
            os.setresuid(65534, 65534, 65534)  # root may read anything
        try:
            source.inspect(str(image))
        except errors.ImageMissing as e:
            return str(e)
        return "it was read"

    assert "Permission denied" in Child(run).result()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"y" * 1000),
        lambda path: os.truncate(path, 999),
        lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns + 1)),
        lambda path: (path.rename(f"{path}.old"), path.write_bytes(b"x" * 1000)),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_change_is_noticed(image: Path, change: Callable[[Path], object]) -> None:
    found = source.inspect(str(image))
    source.require_unchanged(found)
    change(image)
    with pytest.raises(errors.ImageChanged):
        source.require_unchanged(found)


def test_reading_is_no_change(image: Path) -> None:
    found = source.inspect(str(image))
    image.read_bytes()
    image.chmod(0o400)
    source.require_unchanged(found)


def of(size: int) -> Source:
    return Source("img", "f", "raw", size, size)


@given(size=st.integers(1, 1 << 50), wanted=st.integers(0, 1 << 50))
def test_a_disk_is_as_large_as_wanted_but_never_smaller_than_its_image(size: int, wanted: int) -> None:
    if 0 < wanted < size:
        with pytest.raises(errors.ImageTooLarge) as refusal:
            source.disk_size(of(size), wanted)
        assert source.disk_size(of(size), int(str(refusal.value.facts["mib"])) * MIB)
    else:
        assert source.disk_size(of(size), wanted) == (wanted or size)


def test_the_parts_that_hold_data(tmp_path: Path) -> None:
    path = tmp_path / "img"
    with path.open("wb") as f:
        for offset in (MIB, 3 * MIB):
            f.seek(offset)
            f.write(b"x" * 65536)
        f.truncate(5 * MIB)
    assert source.data_extents(str(path)) == [(MIB, MIB + 65536), (3 * MIB, 3 * MIB + 65536)]


def test_an_image_without_data_and_one_without_holes(tmp_path: Path, image: Path) -> None:
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", MIB)
    assert source.data_extents(str(tmp_path / "hole")) == []
    assert source.data_extents(str(image)) == [(0, 1000)]


def test_where_holes_are_not_told_everything_is_data(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, position: int, how: int) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refuse)
    assert source.data_extents(str(image)) == [(0, 1000)]


def test_a_copy_is_never_larger_than_was_wanted_for_it(tmp_path: Path) -> None:
    path = tmp_path / "img"
    with path.open("wb") as f:
        f.write(b"x")
        f.seek(20 * MIB)
        f.write(b"x")
    wanted = blockcopy.bytes_wanted(source.inspect(str(path)))
    assert 2 * 65536 <= wanted <= 2 * MIB
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "5M"], timeout=60)
    assert blockcopy.bytes_wanted(source.inspect(str(path))) == 5 * MIB


def test_whether_a_file_can_be_read_past_the_cache(image: Path) -> None:
    assert source.reads_direct(str(image))
    assert not source.reads_direct("/proc/self/status")
    assert not source.reads_direct(str(image.parent / "none"))

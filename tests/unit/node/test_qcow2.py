from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors, process
from vafnebula.node import qcow2

MIB = 1 << 20


def header(*, version: int = 3, backing: int = 0, size: int = MIB, crypt: int = 0, features: int = 0) -> bytes:
    head = qcow2.MAGIC + struct.pack(">IQIIQI", version, backing, 0, 16, size, crypt)
    return head.ljust(72, b"\0") + struct.pack(">Q", features).ljust(qcow2.HEADER - 72, b"\0")


def made(tmp_path: Path, *words: str) -> bytes:
    path = tmp_path / "image"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", *words, str(path), "1M"], timeout=60)
    return path.read_bytes()[: qcow2.HEADER]


@pytest.mark.parametrize(("options", "version"), [("compat=1.1", 3), ("compat=0.10", 2), ("lazy_refcounts=on", 3)])
def test_what_qemu_makes_is_read(tmp_path: Path, options: str, version: int) -> None:
    assert qcow2.parse(made(tmp_path, "-o", options), "x") == qcow2.Header(version, MIB)


@pytest.mark.parametrize("head", [b"", b"QFI", b"QFI\0" * 30, b"\0" * 104, b"\xebR\x90NTFS" * 20, b"qfi\xfb" * 30])
def test_what_is_not_qcow2_is_raw(head: bytes) -> None:
    assert qcow2.parse(head, "x") is None


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (qcow2.MAGIC, "cut off"),
        (header()[:71], "cut off"),
        (header()[:72], "cut off"),
        (header()[:103], "cut off"),
        (header(version=1), "version 1 is unknown"),
        (header(version=4), "version 4 is unknown"),
        (header(backing=1 << 32), "backing file"),
        (header(version=2, backing=104), "backing file"),
        (header(crypt=1), "encrypted"),
        (header(crypt=2), "encrypted"),
        (header(features=4), "data is in another file"),
        (header(features=4 | 1), "data is in another file"),
    ],
)
def test_what_cannot_be_copied_as_one_image_is_refused(head: bytes, why: str) -> None:
    with pytest.raises(errors.ImageUnusable, match=why):
        qcow2.parse(head, "/ds/1/img")


def test_a_version_2_header_is_shorter() -> None:
    assert qcow2.parse(header(version=2)[:72], "x") == qcow2.Header(2, MIB)


def test_images_of_qemu_that_refer_to_others_are_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    process.run(["qemu-img", "create", "-q", "-f", "raw", str(base), "1M"], timeout=60)
    with pytest.raises(errors.ImageUnusable, match="backing file"):
        qcow2.parse(made(tmp_path, "-b", str(base), "-F", "raw"), "x")
    with pytest.raises(errors.ImageUnusable, match="another file"):
        qcow2.parse(made(tmp_path, "-o", f"data_file={tmp_path}/data"), "x")


@given(st.binary(max_size=qcow2.HEADER) | st.binary(max_size=qcow2.HEADER - 4).map(lambda rest: qcow2.MAGIC + rest))
def test_any_bytes_are_a_header_raw_or_refused(head: bytes) -> None:
    try:
        found = qcow2.parse(head, "x")
    except errors.ImageUnusable:
        assert head.startswith(qcow2.MAGIC)
    else:
        assert (found is None) == (not head.startswith(qcow2.MAGIC))

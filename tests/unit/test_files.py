"""A VM's directory, as a stream and back."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from vafnebula import errors, files, wire


def sent(directory: Path, **options: object) -> bytes:
    out = io.BytesIO()
    files.send(wire.Writer(out), str(directory), **options)  # type: ignore[arg-type]
    return out.getvalue()


def taken(data: bytes, directory: Path) -> None:
    reader = wire.Reader(io.BytesIO(data))
    head = reader.next()
    while head is not None:
        files.take(reader, head, str(directory))
        head = reader.next()


def test_files_travel_with_content_mode_and_holes(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "backup/sub").mkdir(parents=True)
    (old / "vm.xml").write_text("<VM/>")
    (old / "vm.xml").chmod(0o600)
    (old / "empty").touch()
    (old / "backup/sub/f").write_bytes(os.urandom(70_001))
    with (old / "checkpoint").open("wb") as f:
        f.seek(32 << 20)
        f.write(b"end")
    (old / "disk.0").symlink_to("/dev/null")
    (old / "half.new").write_text("half")
    (old / "disk.1.vaf-77").write_text("half")
    taken(sent(old), new)
    assert sorted(str(p.relative_to(new)) for p in new.rglob("*")) == [
        *["backup", "backup/sub", "backup/sub/f", "checkpoint", "empty", "vm.xml"]
    ]
    for name in ("vm.xml", "backup/sub/f", "checkpoint", "empty"):
        assert (new / name).read_bytes() == (old / name).read_bytes()
        assert (new / name).stat().st_mode == (old / name).stat().st_mode
    assert (new / "checkpoint").stat().st_blocks * 512 < 1 << 20
    taken(sent(old), new)


def test_some_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/a").touch()
    (tmp_path / "old/b").touch()
    taken(sent(tmp_path / "old", skip=lambda path: path == "a"), tmp_path / "new")
    assert os.listdir(tmp_path / "new") == ["b"]


def test_a_directory_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert sent(tmp_path / "none") == wire.MAGIC


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a//b", "a\0b"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    reader = wire.Reader(io.BytesIO(wire.MAGIC))
    with pytest.raises(errors.CopyFailed, match="leads out"):
        files.take(reader, {"path": path, "mode": 0o644, "size": 0}, str(tmp_path / "in"))
    assert not (tmp_path / "x").exists()

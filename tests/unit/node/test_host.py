"""The effects on files; LVM and block devices are tried in the lab."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from vafnebula import errors, process
from vafnebula.node.host import Host


@pytest.fixture(autouse=True)
def no_power_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A VM directory that is not made yet."""
    return tmp_path / "0/7"


def test_every_run_is_marked_differently() -> None:
    assert len({Host().run_id for _ in range(100)}) == 100


def test_a_disk_is_published_in_a_directory_that_is_made_for_it(directory: Path) -> None:
    Host().publish("/dev/vg/lv", f"{directory}/disk.0")
    assert os.readlink(directory / "disk.0") == "/dev/vg/lv"
    assert os.listdir(directory) == ["disk.0"]


def test_publishing_replaces_a_link_and_what_a_dead_run_left(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "disk.0").symlink_to("/dev/old")
    (directory / "disk.0.new").symlink_to("/dev/older")
    Host().publish("/dev/vg/lv", f"{directory}/disk.0")
    assert os.readlink(directory / "disk.0") == "/dev/vg/lv"
    assert os.listdir(directory) == ["disk.0"]


def test_publishing_takes_the_mark_of_the_stock_probes_away(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory.parent / ".monitor").touch()
    Host().publish("/dev/vg/lv", f"{directory}/disk.0")
    assert not (directory.parent / ".monitor").exists()


def test_removing_what_is_gone_is_fine(directory: Path) -> None:
    Host().unlink(str(directory / "disk.0"))
    Host().remove_tree(str(directory))


def test_removing_a_link_that_points_nowhere(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "disk.0").symlink_to("/nowhere")
    Host().unlink(str(directory / "disk.0"))
    assert os.listdir(directory) == []


def test_a_link_in_place_of_a_directory_is_refused(directory: Path) -> None:
    directory.parent.mkdir(parents=True)
    directory.symlink_to("/nowhere")
    with pytest.raises(errors.NotOurs):
        Host().remove_tree(str(directory))


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    (tmp_path / "proof.new").write_text("half of an older one, and longer")
    Host().write_file(str(tmp_path / "proof"), b"whole")
    assert (tmp_path / "proof").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["proof"]


def test_a_file_is_prepared_empty_with_the_permissions_of_another(tmp_path: Path) -> None:
    (tmp_path / "image").touch(mode=0o600)
    (tmp_path / "image").chmod(0o664)
    (tmp_path / "fresh").write_text("an older leftover")
    Host().prepare_file(str(tmp_path / "fresh"), (tmp_path / "image").stat())
    assert (tmp_path / "fresh").stat().st_size == 0
    assert (tmp_path / "fresh").stat().st_mode & 0o7777 == 0o664


def test_a_link_is_not_prepared(tmp_path: Path) -> None:
    (tmp_path / "treasure").write_text("precious")
    (tmp_path / "fresh").symlink_to(tmp_path / "treasure")
    with pytest.raises(OSError, match="symbolic links"):
        Host().prepare_file(str(tmp_path / "fresh"), tmp_path.stat())
    assert (tmp_path / "treasure").read_text() == "precious"


def test_a_file_gets_its_exact_size_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "fresh").write_bytes(b"abc")
    Host().finish_file(str(tmp_path / "fresh"), 1000)
    Host().rename(str(tmp_path / "fresh"), str(tmp_path / "image"))
    assert (tmp_path / "image").read_bytes() == b"abc".ljust(1000, b"\0")


def test_zeroing_what_cannot_be_zeroed_is_a_failed_copy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(4096))
    with pytest.raises(errors.CopyFailed, match="zeros"):
        Host().zero(str(tmp_path / "file"), 0, 4096)


def test_lvm_and_mkfs_xfs_run_as_root_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []

    def note(argv: Sequence[str], **_: object) -> process.Completed:
        ran.append(argv)
        return process.Completed(tuple(argv), 0, b"", b"")

    monkeypatch.setattr(process, "run", note)
    Host().lvm(["lvs"])
    Host().format(["mkfs.xfs", "x"], root=True)
    Host().format(["mkswap", "x"])
    assert ran == [["sudo", "-n", "lvs"], ["sudo", "-n", "mkfs.xfs", "x"], ["mkswap", "x"]]


def test_copies_run_at_once_and_keep_the_locks(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fd = lock.fileno()
        done = Host().copy([["sh", "-c", f"test -e /proc/self/fd/{fd} && echo {n}"] for n in (1, 2)], [fd])
    assert [one.out for one in done] == [b"1\n", b"2\n"]

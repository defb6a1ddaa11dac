from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from tests.fakes.child import Child
from vafnebula import errors
from vafnebula.node import lock, signals

WHO = "clone of disk 0 of VM 7"


@pytest.fixture
def holding(tmp_path: Path) -> Callable[..., Child]:
    """Starts a process that holds the lock `x` until it is killed or interrupted."""

    def start(*, shared: bool = False, what: str = WHO) -> Child:
        def run(child: Child) -> str:
            signals.install()
            try:
                with lock.hold(str(tmp_path), "x", what, wait=0, shared=shared):
                    child.stay()
            except errors.Interrupted as e:
                return str(e)
            return "not interrupted"

        child = Child(run)
        child.wait_ready()
        return child

    return start


def is_free(directory: Path, *, shared: bool = False) -> bool:
    try:
        with lock.hold(str(directory), "x", "", wait=0, shared=shared):
            return True
    except errors.Busy:
        return False


def text(directory: Path) -> str:
    return (directory / "vafnebula-x.lock").read_text()


def test_another_process_is_refused_and_told_who_holds_the_lock(tmp_path: Path, holding: Callable[..., Child]) -> None:
    child = holding()
    with (
        pytest.raises(errors.Busy, match=f"lock x is in use: held by {WHO} for over 0 seconds"),
        lock.hold(str(tmp_path), "x", "", wait=0),
    ):
        pass
    assert not is_free(tmp_path, shared=True)
    child.kill()
    assert is_free(tmp_path)


def test_readers_share_and_keep_a_writer_out(tmp_path: Path, holding: Callable[..., Child]) -> None:
    child = holding(shared=True)
    assert is_free(tmp_path, shared=True)
    with (
        pytest.raises(errors.Busy, match="held by a reader"),
        lock.hold(str(tmp_path), "x", "", wait=0),
    ):
        pass
    child.kill()
    assert is_free(tmp_path)


def test_a_lock_is_had_as_soon_as_it_is_given_up(tmp_path: Path) -> None:
    def run(child: Child) -> str:
        with lock.hold(str(tmp_path), "x", WHO, wait=0):
            child.ready()
            time.sleep(0.1)
        return "given up"

    child = Child(run)
    child.wait_ready()
    with lock.hold(str(tmp_path), "x", "", wait=60):
        pass
    assert child.result() == "given up"


def test_waiting_ends_after_the_time_that_was_allowed(tmp_path: Path, holding: Callable[..., Child]) -> None:
    child = holding()
    with (
        pytest.raises(errors.Busy, match=r"for over 0\.1 seconds"),
        lock.hold(str(tmp_path), "x", "", wait=0.1),
    ):
        pass
    child.kill()


def test_a_dead_holders_copy_keeps_the_lock_until_it_ends_too(tmp_path: Path) -> None:
    def run(child: Child) -> str:
        with lock.hold(str(tmp_path), "x", WHO, wait=0) as fd:
            copy = subprocess.Popen(["sleep", "60"], pass_fds=[fd])
            (tmp_path / "copy").write_text(str(copy.pid))
            child.stay()
        return ""

    child = Child(run)
    child.wait_ready()
    child.kill()
    assert not is_free(tmp_path)
    lock.interrupt(str(tmp_path), "x")  # the holder's pid is nobody's: no signal, no error
    assert not is_free(tmp_path)
    os.kill(int((tmp_path / "copy").read_text()), signal.SIGKILL)
    with lock.hold(str(tmp_path), "x", "", wait=10):
        pass


def test_a_lock_file_says_who_while_it_is_held_and_nothing_after(tmp_path: Path) -> None:
    with lock.hold(str(tmp_path), "x", WHO, wait=0):
        pid, started, what = text(tmp_path).split(maxsplit=2)
        assert (int(pid), what) == (os.getpid(), f"{WHO}\n")
        assert int(started) > 0
    assert text(tmp_path) == ""


def test_a_shorter_name_after_a_longer_one_leaves_no_rest(tmp_path: Path, holding: Callable[..., Child]) -> None:
    holding().kill()  # its text stays in the file
    with lock.hold(str(tmp_path), "x", "a", wait=0):
        assert text(tmp_path).endswith(" a\n")


def test_interrupt_stops_the_holder(tmp_path: Path, holding: Callable[..., Child]) -> None:
    child = holding()
    lock.interrupt(str(tmp_path), "x")
    assert "SIGTERM" in child.result()
    assert is_free(tmp_path)


def test_interrupt_does_not_signal_a_process_that_only_has_the_holders_number(
    tmp_path: Path, holding: Callable[..., Child], mocker: MockerFixture
) -> None:
    child = holding()
    innocent = subprocess.Popen(["sleep", "60"])
    path = tmp_path / "vafnebula-x.lock"
    _, started, what = path.read_text().split(maxsplit=2)
    path.write_text(f"{innocent.pid} {int(started) - 1} {what}")
    kill = mocker.spy(os, "kill")
    lock.interrupt(str(tmp_path), "x")
    assert kill.call_count == 0
    innocent.kill()
    innocent.wait()
    child.kill()


@pytest.mark.parametrize("words", ["", "garbage", "1", "1 2", "-1 0 x", "0 0 x", "0 1 x", "\udcff 1 x"])
def test_interrupt_reads_only_what_a_holder_wrote(
    tmp_path: Path, holding: Callable[..., Child], mocker: MockerFixture, words: str
) -> None:
    child = holding()
    (tmp_path / "vafnebula-x.lock").write_bytes(words.encode(errors="surrogateescape"))
    kill = mocker.spy(os, "kill")
    lock.interrupt(str(tmp_path), "x")
    assert kill.call_count == 0
    child.kill()


def test_interrupt_never_signals_ourselves(tmp_path: Path, mocker: MockerFixture) -> None:
    kill = mocker.spy(os, "kill")
    with lock.hold(str(tmp_path), "x", WHO, wait=0):
        lock.interrupt(str(tmp_path), "x")
    assert kill.call_count == 0


def test_a_holder_that_ends_before_the_signal_comes_is_no_error(
    tmp_path: Path, holding: Callable[..., Child], mocker: MockerFixture
) -> None:
    child = holding()
    kill = mocker.patch("os.kill", side_effect=ProcessLookupError)
    lock.interrupt(str(tmp_path), "x")
    assert kill.call_args.args == (child.pid, signal.SIGTERM)
    mocker.stopall()
    child.kill()


def test_interrupt_of_one_kind_of_action_leaves_others_alone(tmp_path: Path, holding: Callable[..., Child]) -> None:
    child = holding(what="prebackup of disk 0 of VM 7")
    lock.interrupt(str(tmp_path), "x", only="clone")
    assert not is_free(tmp_path)
    lock.interrupt(str(tmp_path), "x", only="prebackup")
    assert "SIGTERM" in child.result()


def test_interrupt_leaves_another_delete_alone(tmp_path: Path, holding: Callable[..., Child]) -> None:
    child = holding(what="delete of disk 0 of VM 7")
    lock.interrupt(str(tmp_path), "x")
    assert not is_free(tmp_path)
    child.kill()


def test_interrupt_of_a_lock_that_nobody_holds(tmp_path: Path, holding: Callable[..., Child]) -> None:
    lock.interrupt(str(tmp_path), "x")
    lock.interrupt(str(tmp_path / "none"), "x")
    holding().kill()  # what a dead holder wrote is still there
    lock.interrupt(str(tmp_path), "x")
    assert is_free(tmp_path)


def test_a_lock_dir_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    for directory in (tmp_path / "none", Path("/dev/null")):
        with (
            pytest.raises(errors.BadConfig, match=f"{directory}.*lock_dir"),
            lock.hold(str(directory), "x", "", wait=0),
        ):
            pass


def test_a_link_in_place_of_a_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "treasure").write_text("precious")
    (tmp_path / "vafnebula-x.lock").symlink_to(tmp_path / "treasure")
    with pytest.raises(errors.BadConfig), lock.hold(str(tmp_path), "x", WHO, wait=0):
        pass
    lock.interrupt(str(tmp_path), "x")
    assert (tmp_path / "treasure").read_text() == "precious"


def test_the_last_use_is_kept_in_the_lock_file(tmp_path: Path) -> None:
    assert lock.last_used(str(tmp_path), "x") == 0
    with lock.hold(str(tmp_path), "x", "", wait=0, shared=True) as fd:
        os.utime(fd, (5, 5))
        assert lock.last_used(str(tmp_path), "x") == 5
        begin = time.time()
        lock.mark_used(fd)
    assert abs(lock.last_used(str(tmp_path), "x") - begin) < 60
    assert is_free(tmp_path, shared=True)


def test_looking_at_a_lock_is_no_use_of_it(tmp_path: Path) -> None:
    with lock.hold(str(tmp_path), "x", "", wait=0, shared=True) as fd:
        os.utime(fd, (5, 5))
    assert is_free(tmp_path, shared=True)
    lock.interrupt(str(tmp_path), "x")
    assert lock.last_used(str(tmp_path), "x") == 5


def test_a_long_wait_is_logged(tmp_path: Path, mocker: MockerFixture, holding: Callable[..., Child]) -> None:
    child = holding()
    said = mocker.patch("syslog.syslog")
    mocker.patch("time.monotonic", side_effect=range(100))
    mocker.patch("time.sleep", side_effect=lambda _: child.kill())
    with lock.hold(str(tmp_path), "x", "", wait=60):
        pass
    assert "lock name=x waited=" in said.call_args.args[1]

"""The bell and its patience; pokes as hooks and Slurm send them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula.scale import poke
from vafnebula.scale.events import Bell, Debounce, NoSocket, Timing
from vafnebula.scale.tail import watch

CHECKOUT = Path(__file__).parents[3]
POKE = Path(poke.__file__)
QUICK = Timing(quiet=0.02, patience=0.1, period=30.0, spacing=0.0)


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Bell]:
    made = Bell(tmp_path / "sock", QUICK)
    yield made
    made.close()
    assert not (tmp_path / "sock").exists()


def test_a_poke_wakes(bell: Bell, tmp_path: Path) -> None:
    assert poke.poke(str(tmp_path / "sock"), "vm", "21", "RUNNING")
    assert bell.wait(time.monotonic()) == ["vm 21 RUNNING"]


def test_a_burst_is_one_look(bell: Bell, tmp_path: Path) -> None:
    for number in range(100):
        poke.poke(str(tmp_path / "sock"), "job", str(number % 3))
    assert sorted(bell.wait(time.monotonic())) == ["job 0", "job 1", "job 2"]


def test_hostile_words_are_one_short_line(bell: Bell, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"\0\x1b[31m\nforged line " + b"A" * 5000, str(tmp_path / "sock"))
    (word,) = bell.wait(time.monotonic())
    assert word.isprintable()
    assert len(word) <= 80


def test_it_comes_from_a_program_that_never_fails(bell: Bell, tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-S", str(POKE)]
    subprocess.run([*argv, str(tmp_path / "sock"), "resume", "vaf-[1-4]"], check=True, capture_output=True)
    assert bell.wait(time.monotonic()) == ["resume vaf-[1-4]"]
    done = subprocess.run([*argv, str(tmp_path / "nobody"), "resume"], check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_slurms_resume_program_pokes(bell: Bell, tmp_path: Path) -> None:
    script = (CHECKOUT / "share/slurm/resume").read_text()
    program = tmp_path / "resume"
    program.write_text(script.replace("/var/lib/one/remotes/vafnebula/vafnebula/scale/poke.py", str(POKE)))
    program.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "VAFNEBULA_SCALE_SOCKET": str(tmp_path / "sock")}
    subprocess.run([program, "vaf-[1-4]"], env=environment, check=True, capture_output=True)
    assert bell.wait(time.monotonic()) == ["resume vaf-[1-4]"]


def test_nobody_there_and_nobody_listening_are_no_error(tmp_path: Path) -> None:
    assert not poke.poke(str(tmp_path / "sock"), "x")
    made = Bell(tmp_path / "sock", QUICK)
    sent = 0
    while poke.poke(str(tmp_path / "sock"), "x") and sent < 100_000:
        sent += 1
    assert sent < 100_000, "a full queue refuses, and nobody waits"
    made.close()


def test_a_flood_does_not_take_our_time(tmp_path: Path) -> None:
    """Somebody pokes without end: looks come at the pace of `patience`, and waiting costs hardly any CPU."""
    bell = Bell(tmp_path / "sock", Timing(quiet=0.1, patience=0.4, period=30.0, spacing=0.0))
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            for _ in range(100):
                poke.poke(str(tmp_path / "sock"), "again")
            time.sleep(0.001)

    thread = threading.Thread(target=flood)
    thread.start()
    readings = 0
    heard = bell._heard

    def counted() -> list[str]:
        nonlocal readings
        readings += 1
        return heard()

    bell._heard = counted  # type: ignore[method-assign]
    assert bell.wait(time.monotonic()) == ["again"]
    over.set()
    thread.join()
    bell.close()
    assert readings < 20


def test_a_log_wakes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    bell = Bell(tmp_path / "sock", QUICK, [watch("file", str(log))])
    with log.open("a") as file:
        file.write("x\n")
    assert bell.wait(time.monotonic()) == ["log"]
    bell.close()


def test_another_thread_wakes(bell: Bell) -> None:
    thread = threading.Thread(target=bell.wake)
    thread.start()
    assert bell.wait(time.monotonic()) == ["wake"]
    thread.join()
    bell.wake(b".")
    assert bell.wait(time.monotonic()) == ["stop"]


def test_the_socket_of_a_dead_scaler_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / "sock"))
    Bell(tmp_path / "sock", QUICK).close()


def test_no_directory_is_an_error_for_the_admin(tmp_path: Path) -> None:
    with pytest.raises(NoSocket, match="is its directory there"):
        Bell(tmp_path / "no" / "sock", QUICK)


def test_every_user_may_poke(bell: Bell, tmp_path: Path) -> None:
    assert (tmp_path / "sock").stat().st_mode & 0o777 == 0o666
    assert os.access(tmp_path / "sock", os.W_OK)


def test_without_events_the_period_ends(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "sock", Timing(period=0.0))
    assert bell.wait(time.monotonic()) == []
    bell.close()


TIMES = st.floats(0, 1000)


@given(TIMES, st.lists(TIMES, min_size=1, max_size=20))
def test_a_look_is_never_later_than_patience_nor_than_the_period(looked: float, pokes: list[float]) -> None:
    timing = Timing()
    state = Debounce(timing, looked)
    assert state.due() == looked + timing.period
    first = None
    for at in sorted(looked + p for p in pokes):
        first = at if first is None else first
        state = state.poked(at)
        assert state.due() <= max(first + timing.patience, looked + timing.spacing)
        assert state.due() <= looked + timing.period
        assert state.due() >= min(looked + timing.period, looked + timing.spacing)


def test_quiet_ends_the_wait() -> None:
    state = Debounce(Timing(), 0.0).poked(10.0)
    assert state.due() == 10.5
    assert state.poked(10.4).due() == 10.9
    busy = state
    for tenth in range(1, 60):
        busy = busy.poked(10.0 + tenth / 10)
    assert busy.due() == 13.0

"""However a lab ends, nothing is left: processes, mounts, namespaces, taps, files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.residue import Process, leftovers, processes
from vafnebula.lab import Lab, state
from vafnebula.lab.errors import LabError, NoLab

PROGRAM = str(Path(sys.executable).parent / "vafnebula")
SMALL = "nodes=1, disk='256M', gluster=False, deployed=False"
MAKER = f"""
import sys, time
from vafnebula.lab import Lab
lab = Lab.up(sys.argv[1], {SMALL})
print("up", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a lab that is certainly gone afterwards."""
    wanted = f"life-{os.getpid()}"
    yield wanted
    if state.is_up(wanted):
        Lab.attach(wanted).down()


@pytest.fixture
def maker(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that made the lab and sleeps."""
    with subprocess.Popen([sys.executable, "-c", MAKER, name], stdout=subprocess.PIPE, cwd=checkout()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
        process.kill()


def checkout() -> Path:
    return Path(__file__).parents[2]


def gone(name: str, before: set[Process]) -> None:
    """Assert that in the end nothing is left of the lab."""
    end = time.monotonic() + 30
    while leftovers(name, before) and time.monotonic() < end:
        time.sleep(0.05)
    assert leftovers(name, before) == []


@pytest.mark.parametrize(
    ("victim", "number"),
    [
        ("creator", signal.SIGKILL),
        ("creator", signal.SIGTERM),
        ("supervisor", signal.SIGKILL),
        ("supervisor", signal.SIGTERM),
        ("init", signal.SIGKILL),
    ],
)
def test_the_death_of_any_of_its_processes_ends_a_lab(
    name: str, maker: subprocess.Popen[bytes], victim: str, number: int
) -> None:
    lab = Lab.attach(name)
    before = processes(lab)
    pids = {"creator": maker.pid, "supervisor": lab.record.supervisor, "init": lab.record.init}
    os.kill(pids[victim], number)
    gone(name, before)
    with pytest.raises(NoLab):
        Lab.attach(name)


def test_down_from_another_process(name: str, maker: subprocess.Popen[bytes]) -> None:
    lab = Lab.attach(name)
    before = processes(lab)
    lab.down()
    assert leftovers(name, before) == []
    lab.down()


def test_the_command_line_leaves_a_lab_behind_until_down(name: str) -> None:
    options = ["--name", name, "--nodes", "1", "--disk", "256M", "--no-gluster"]
    assert command("up", *options).returncode == 0
    assert name in command("status").stdout
    assert command("run", "--name", name, "id", "-un").stdout == "oneadmin\n"
    assert command("ssh", "--name", name, "n1", "hostname").stdout == "n1\n"
    assert command("ssh", "--name", name, "n1", "exit", "3").returncode == 3
    again = command("up", *options)
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith(f"Error: lab: {name}: it is up already; ")
    before = processes(Lab.attach(name))
    assert command("cut", "--name", name, "n1").returncode == 0
    assert f"{name}  uml  n1:off" in command("status").stdout
    assert command("boot", "--name", name, "n1").returncode == 0
    assert command("down", "--name", name).returncode == 0
    assert leftovers(name, before) == []
    assert command("down", "--name", name).stderr.startswith(f"Error: lab: {name} is not there: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupting_up_leaves_nothing(name: str, number: int) -> None:
    argv = [PROGRAM, "lab", "up", "--name", name]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=checkout()) as process:
        while not (state.directory(name) / "n1/console.log").exists():
            assert process.poll() is None
            time.sleep(0.01)
        before = processes(Lab.attach(name))
        process.send_signal(number)
        assert process.wait(60) != 0
    gone(name, before)


def test_a_node_that_does_not_boot_is_one_line_and_leaves_only_its_console(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vafnebula.lab.lvmconf.TEMPLATE", "this is not lvm.conf {{\n")
    with pytest.raises(LabError, match="boot of n1: volume group vg-one-100 cannot be made; see /") as caught:
        Lab.up(name, nodes=1, disk="256M", gluster=False, deployed=False)
    kept = Path(str(caught.value).rsplit(" ", 1)[1])
    assert "LAB failed" in (kept / "n1.log").read_text()
    assert leftovers(name, set()) == []
    (kept / "n1.log").unlink()
    kept.rmdir()


def test_what_a_crash_left_is_swept(name: str) -> None:
    home = state.directory(name)
    (home / "n1").mkdir(parents=True)
    (home / "n1/home.img").write_bytes(b"x")
    (home / "lock").touch()
    (home / "lab.json").write_text("{")
    assert name not in state.names()
    assert not home.exists()


def test_three_cycles(booted: Callable[..., Lab]) -> None:
    for cycle in range(3):
        lab = booted(f"cycle{cycle}", nodes=2, disk="256M")
        lab.ssh("n2", ["sudo", "-n", "/usr/sbin/lvs"])
        before = processes(lab)
        lab.down()
        assert leftovers(lab.spec.name, before) == []


def command(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [PROGRAM, "lab", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, cwd=checkout())

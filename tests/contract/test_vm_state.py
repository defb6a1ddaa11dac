"""hooks/vm-state as onehem runs it: a copy in remotes/hooks, cwd /, the recorded environment and stdin."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vafnebula.scale.events import Bell, Timing

CHECKOUT = Path(__file__).parents[2]
DATA = CHECKOUT / "tests/data/scale"


@pytest.fixture
def remotes(tmp_path: Path) -> Path:
    hooks = tmp_path / "remotes/hooks/vafnebula"
    hooks.mkdir(parents=True)
    shutil.copy(CHECKOUT / "hooks/vm-state/vm-state", hooks)
    package = tmp_path / "remotes/vafnebula"
    package.mkdir()
    (package / "python").symlink_to(sys.executable)
    (package / "vafnebula").symlink_to(CHECKOUT / "vafnebula")
    return tmp_path / "remotes"


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Bell]:
    made = Bell(tmp_path / "sock", Timing(quiet=0.0, patience=0.0, spacing=0.0, period=30.0))
    yield made
    made.close()


def run(remotes: Path, stdin: bytes, sock: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {  # recorded from onehem 7.4, with HOME moved
        "HOME": str(remotes.parent),
        "LANG": "C.UTF-8",
        "LOGNAME": "oneadmin",
        "PATH": "/usr/lib/one/sh/override:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SHELL": "/bin/bash",
        "USER": "oneadmin",
        "VAFNEBULA_SCALE_SOCKET": str(sock),
    }
    hook = remotes / "hooks/vafnebula/vm-state"
    return subprocess.run([hook], input=stdin, env=environment, cwd="/", capture_output=True, timeout=20, check=False)


@pytest.mark.parametrize(
    ("recorded", "word"), [("hook-vm-running.b64", "vm 21 3/3"), ("hook-vm-done.b64", "vm 21 6/0")]
)
def test_a_recorded_call_pokes(remotes: Path, bell: Bell, tmp_path: Path, recorded: str, word: str) -> None:
    done = run(remotes, (DATA / recorded).read_bytes(), tmp_path / "sock")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert bell.wait(time.monotonic()) == [word]


@pytest.mark.parametrize("stdin", [b"", b"PFZN", b"\xff\0" * 1000, b"PCFET0NUWVBFIHg+PFZNLz4=", b"A" * 100_000])
def test_whatever_comes_it_pokes_and_says_nothing(remotes: Path, bell: Bell, tmp_path: Path, stdin: bytes) -> None:
    done = run(remotes, stdin, tmp_path / "sock")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert bell.wait(time.monotonic()) == ["vm"]


def test_a_scaler_that_is_down_is_no_failure(remotes: Path, tmp_path: Path) -> None:
    done = run(remotes, (DATA / "hook-vm-running.b64").read_bytes(), tmp_path / "nobody")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_hooks_are_created_once(tmp_path: Path) -> None:
    """`create` against a program that speaks as onehook does, as far as it is asked."""
    onehook = tmp_path / "onehook"
    onehook.write_text(
        "#!/bin/sh\ncase $1 in\n"
        f"list) cat {tmp_path}/list 2>/dev/null || true ;;\n"
        f'create) cat "$2" >>{tmp_path}/all; sed -n \'s/^NAME = "\\(.*\\)"/\\1/p\' "$2" >>{tmp_path}/list ;;\n'
        "esac\n"
    )
    onehook.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    for _ in range(2):
        subprocess.run([CHECKOUT / "hooks/vm-state/create"], env=environment, check=True, capture_output=True)
    names = (tmp_path / "list").read_text().split()
    assert names == [
        "vafnebula-RUNNING",
        "vafnebula-DONE",
        "vafnebula-POWEROFF",
        "vafnebula-BOOT_FAILURE",
        "vafnebula-PROLOG_FAILURE",
        "vafnebula-UNKNOWN",
    ]
    created = (tmp_path / "all").read_text()
    assert created.count('COMMAND = "vafnebula/vm-state"') == 6
    assert 'STATE = "DONE"\nLCM_STATE = "LCM_INIT"' in created

"""Machines: power on, power cut, and waiting for one to be ready."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path

from vafnebula import errors
from vafnebula.lab import qemu, state, uml
from vafnebula.lab.errors import LabError
from vafnebula.lab.spec import INSIDE, Spec
from vafnebula.lab.state import Record

MACHINE = str(INSIDE / "guest/machine")
START = 30  # seconds until a machine's process exists


def boot(record: Record, node: str) -> None:
    """Power on.  Returns when the machine runs, long before it is ready; nothing when it is on already."""
    spec = record.spec
    if pid(record, node) is not None:
        return
    backend = uml.argv(spec, node) if spec.backend == "uml" else qemu.argv(spec, node)
    cpu = _quietest(spec.index(node))
    with contextlib.suppress(FileNotFoundError):
        _console(spec, node).unlink()
    # forked away: the machine belongs to the lab's PID 1, not to whoever boots it
    away = ["setsid", "--fork", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    enter = ["nsenter", "--target", str(record.init), "--mount", "--net", "--uts", "--ipc", "--pid", "--"]
    machine = [MACHINE, node, str(cpu), *backend]
    _start([*enter, *away, *machine], node)
    while pid(record, node) is None and not _console(spec, node).exists():
        time.sleep(0.002)


def _quietest(index: int) -> int:
    """The CPU that the fewest machines of all labs are pinned to; among equals another one for each `index`."""
    cpus = sorted(os.sched_getaffinity(0))
    used = dict.fromkeys(cpus, 0)
    for name in state.names():
        with contextlib.suppress(errors.Error):
            for command in _machines(state.load(name).init).values():
                pinned = int(command[command.index(MACHINE) + 2])
                used[pinned] = used.get(pinned, 0) + 1
    return min(cpus, key=lambda cpu: (used[cpu], (cpu - index) % len(cpus)))


def _start(argv: list[str], node: str) -> None:
    """Run a program that leaves another behind: nothing of ours may stay open in it, so its output is not taken."""
    null = subprocess.DEVNULL
    try:
        code = subprocess.run(argv, stdin=null, stdout=null, stderr=null, timeout=START, check=False).returncode
    except subprocess.TimeoutExpired:
        code = 124
    if code != 0:
        why = f"its namespaces could not be made (exit code {code})"
        raise LabError(what=f"boot of {node}", why=why, advice="see whether the lab is still up")


def cut(record: Record, node: str) -> None:
    """Power cut: SIGKILL to the machine's PID 1; the kernel takes its other processes.  Nothing when it is off."""
    spec = record.spec
    spec.index(node)
    inner = pid(record, node)
    if inner is None:
        return
    with contextlib.suppress(ProcessLookupError):
        gone = os.pidfd_open(inner)
        os.kill(inner, signal.SIGKILL)
        ended, _, _ = select.select([gone], [], [], START)
        os.close(gone)
        if not ended:
            raise LabError(what=f"cut of {node}", why="the machine does not die", advice="run `vafnebula lab down`")
    while pid(record, node) is not None:
        time.sleep(0.002)


def pid(record: Record, node: str) -> int | None:
    """The pid, as seen from outside, of the machine's PID 1; None when it is off."""
    for outer, command in _machines(record.init).items():
        if command[command.index(MACHINE) + 1] == node:
            return next(iter(_children(outer)), outer)
    return None


def _machines(init: int) -> dict[int, list[str]]:
    """The command lines, by pid, of what holds the machines of the lab with PID 1 `init`."""
    found = {}
    for child in _children(init):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
            if command[0] == "unshare" and MACHINE in command:
                found[child] = command
    return found


def _children(parent: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(p) for p in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return []


def _console(spec: Spec, node: str) -> Path:
    return state.directory(spec.name) / node / "console.log"


def wait_ready(record: Record, node: str, timeout: float) -> float:
    """Wait until the node's init says that all is up; the node's own uptime in seconds then.

    Raises LabError with the reason that the console gives.
    """
    console = _console(record.spec, node)
    end = time.monotonic() + timeout
    advice = f"see {console}"
    text = ""
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            text = console.read_text(errors="replace")
        ready = re.search(r"^LAB ([0-9.]+) ready\r?$", text, re.MULTILINE)
        if ready:
            return float(ready[1])
        if not state.alive(record):
            raise LabError(what=f"boot of {node}", why="the lab went down meanwhile", advice="see who ended it")
        failed = re.search(r"LAB failed: (.*)", text)
        if failed:
            raise LabError(what=f"boot of {node}", why=errors.one_line(failed[1]), advice=advice)
        time.sleep(0.02)
    last = (text.strip().splitlines() or ["it said nothing"])[-1]
    raise LabError(what=f"boot of {node}", why=f"not ready after {timeout:.0f} s, last: {last}", advice=advice)

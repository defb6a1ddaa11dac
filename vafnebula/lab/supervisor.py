"""The process that a lab lives and dies with.

    creator --pipe--> supervisor --pipe--> PID 1 of the lab (init.py), in its own pid, net, mount, uts and ipc namespace

Each watches the pipe from its left neighbour: at its end the creator has died, however it died, and the lab goes.
When PID 1 ends the kernel kills everything in the lab and takes its mounts, bridge and taps away.  Whoever of the
two is left removes the files, so that only killing both at once leaves some (and the next lab sweeps them).

The creator detaches a lab from its own life by sending DETACH.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from vafnebula.lab import state
from vafnebula.lab.errors import LabError
from vafnebula.lab.state import Record

DETACH = b"d"
START = 60.0  # seconds until the lab's root stands, or is gone


def start(home: Path, lock: int, search: list[str]) -> subprocess.Popen[bytes]:
    """Start a supervisor for the claimed directory `home`; `search` is the PYTHONPATH that finds this package.

    Its stdin is the pipe to watch; its stdout says lines: `pid N` (the lab's PID 1),
    then `ready` or `failed: why`.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "vafnebula.lab.supervisor", str(home), str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[lock],
        start_new_session=True,
        cwd="/",
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(search), LC_ALL="C"),
    )


def ready(keeper: subprocess.Popen[bytes]) -> int:
    """Read the supervisor's lines until `ready`; the pid of the lab's PID 1.  Raises LabError."""
    assert keeper.stdout is not None
    said, pid, deadline = b"", 0, time.monotonic() + START
    while time.monotonic() < deadline:
        if select.select([keeper.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            chunk = os.read(keeper.stdout.fileno(), 4096)
            said += chunk
            for line in said.decode(errors="replace").splitlines():
                word, _, rest = line.partition(" ")
                if word == "pid":
                    pid = int(rest)
                elif word == "failed:":
                    raise LabError(what="its root", why=rest, advice="be root where namespaces and mounts are allowed")
                elif word == "ready":
                    return pid
            if not chunk:
                break
    raise LabError(what="its root", why="the supervisor ended or said nothing", advice="look at the kernel's log")


def end(keeper: subprocess.Popen[bytes]) -> None:
    """End a supervisor of ours and reap it: it takes the lab along."""
    keeper.terminate()
    try:
        keeper.wait(START)
    except subprocess.TimeoutExpired:
        keeper.kill()  # PID 1 of the lab sees that and ends it
        keeper.wait()
    for pipe in (keeper.stdin, keeper.stdout):
        if pipe is not None:
            pipe.close()


def end_other(record: Record) -> None:
    """End a supervisor that another process started.  Raises LabError."""
    with contextlib.suppress(ProcessLookupError):
        keeper = os.pidfd_open(record.supervisor)
        try:
            signal.pidfd_send_signal(keeper, signal.SIGTERM)
            if not select.select([keeper], [], [], START)[0]:
                advice = f"kill -9 {record.supervisor} {record.init}"
                raise LabError(what="down", why="its supervisor does not end", advice=advice)
        finally:
            os.close(keeper)


def main(home: Path, lock: int) -> int:
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    spaces = ["--pid", "--net", "--mount", "--uts", "--ipc"]
    outer = subprocess.Popen(
        ["unshare", "--fork", "--kill-child=KILL", *spaces, sys.executable, "-m", "vafnebula.lab.init", str(home)],
        stdin=subprocess.PIPE,
        pass_fds=[lock],
    )
    pid = _child(outer)
    init = os.pidfd_open(pid)
    say(f"pid {pid}")
    hush()  # from here on the creator hears PID 1 only
    try:
        _watch(init)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        select.select([init], [], [])  # PID 1 is gone only after every process in its namespace
        outer.wait()
        state.remove(home)
    return 0


def say(line: str) -> None:
    """A line for the creator."""
    os.write(1, f"{line}\n".encode())


def hush() -> None:
    """Nothing more to say: the creator's end of the pipe must see it when PID 1 ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _child(outer: subprocess.Popen[bytes]) -> int:
    """The pid of unshare's child."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while outer.poll() is None:
        found = children.read_text().split()
        if found:
            return int(found[0])
        time.sleep(0.002)
    say("failed: unshare cannot make namespaces")
    raise SystemExit(1)


def _leave(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _watch(init: int) -> None:
    """Return when PID 1 has ended or the creator has died."""
    poll = select.poll()
    poll.register(init, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if init in ready or os.read(0, 1) != DETACH:
            return
        poll.unregister(0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))

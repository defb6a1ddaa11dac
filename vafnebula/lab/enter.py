"""Ways into a lab: programs on its front-end, started from outside its namespaces.

`guest/enter` makes the environment: for oneadmin exactly what OpenNebula's daemon gives to a driver.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from vafnebula import errors
from vafnebula.lab.spec import INSIDE
from vafnebula.process import Completed


def argv(init: int, program: Sequence[str], *, user: str, env: Mapping[str, str]) -> list[str]:
    """The argument list that runs `program` in the lab of PID 1 `init`; `env` is added to the user's environment."""
    # the pid namespace last: nsenter then forks once, and its child dies with it
    space = ["nsenter", "--target", str(init), "--mount", "--net", "--uts", "--ipc", "--pid", "--"]
    return [*space, str(INSIDE / "guest/enter"), user, *(f"{k}={v}" for k, v in env.items()), *program]


# what the command line of a process shows while it is still on its way into the lab
WAY = (b"nsenter\0", b"/guest/enter\0", b"env\0-i\0HOME=")


class Running:
    """A program that runs in the lab.  Its standard streams are pipes; `timeout`s are in seconds."""

    def __init__(self, command: Sequence[str], program: str, stdin: int | IO[bytes] | None = None) -> None:
        self.program = program
        self._popen = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int | None:
        """Its pid as seen from outside, None when it has ended or not begun.  It leads its own process group."""
        outer = self._popen.pid
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            inner = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
            return int(inner[0]) if inner else None
        return None

    def started(self, timeout: float = 10) -> int:
        """Wait until the program itself runs, not what makes its environment; its pid from outside."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self._popen.poll() is None:
            pid = self.pid
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if pid and not any(mark in command for mark in WAY):
                    return pid
            time.sleep(0.001)
        code = self._popen.poll()
        self.kill()
        raise errors.CommandFailed(program=self.program, code=124 if code is None else code, why="it did not start")

    def signal(self, number: int, *, group: bool = True) -> None:
        """Send a signal to the program's whole process group, or to it alone; nothing when it has ended."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number) if group else os.kill(pid, number)

    def line(self, timeout: float) -> bytes:
        """The next line it prints.  Raises CommandFailed when none comes in time; the program is then ended."""
        assert self._popen.stdout is not None
        if select.select([self._popen.stdout], [], [], timeout)[0]:
            return self._popen.stdout.readline()
        self.kill()
        raise errors.CommandFailed(program=self.program, code=124, why=f"no line after {timeout} seconds")

    def poll(self) -> int | None:
        """The exit code, None while it runs; a signal's number is negative or 128 + number."""
        return self._popen.poll()

    def wait(self, timeout: float, input: bytes | None = None) -> Completed:
        """Wait for its end and take what it wrote.  Raises CommandFailed, and kills it, after `timeout`."""
        try:
            out, err = self._popen.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise errors.CommandFailed(program=self.program, code=124, why=f"no end after {timeout} seconds") from None
        except BaseException:
            self.kill()
            raise
        return Completed(tuple(self._popen.args), self._popen.returncode, out, err)  # type: ignore[arg-type]

    def kill(self) -> None:
        """SIGKILL to its process group, and forget its output."""
        self.signal(signal.SIGKILL)
        self._popen.kill()
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()
        self._popen.wait()


def run(
    init: int,
    program: Sequence[str],
    *,
    user: str,
    env: Mapping[str, str],
    timeout: float,
    input: bytes | None = None,
    check: bool = True,
) -> Completed:
    """Run `program` to its end, as process.run does.  A CommandFailed names the program, not the way into the lab.

    Not by process.run itself: at the time limit that would kill nsenter, and what hangs is inside.
    """
    command = argv(init, program, user=user, env=env)
    running = Running(command, program[0], None if input is None else subprocess.PIPE)
    done = running.wait(timeout, input)
    if check and done.code != 0:
        raise errors.CommandFailed(program=program[0], code=done.code, why=done.why)
    return Completed(tuple(program), done.code, done.out, done.err)

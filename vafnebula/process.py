"""run(): the only place that starts a program and waits for it, on the front-end, on a node and in the lab.

Argument lists only, never shell text; stdin closed unless given; bytes in, bytes out; LC_ALL=C so that messages
can be recognised.  The time limit has no default: a caller that may wait for ever says `timeout=None` aloud.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vafnebula import errors


@dataclass(frozen=True)
class Completed:
    """A program that ended.  `code` is the exit code, negative for a signal."""

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def why(self) -> str:
        """The last things it said, for a person."""
        said = self.err.strip() or self.out.strip()
        return errors.one_line(said.decode(errors="replace")) or "it said nothing"


def run(
    argv: Sequence[str],
    *,
    timeout: float | None,
    input: bytes | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run `argv` to its end; `timeout` in seconds.

    Raises CommandFailed when it cannot be started, exceeds `timeout` (it is then killed), or, with `check`, ends
    with another code than 0.  When an exception (a signal handler's) passes through, the child is killed first.
    """
    environment = dict(os.environ if env is None else env, LC_ALL="C")
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
            pass_fds=pass_fds,
        )
    except OSError as e:
        raise errors.CommandFailed(program=argv[0], code=127, why=e.strerror) from e
    try:
        out, err = child.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        _end(child)
        raise errors.CommandFailed(program=argv[0], code=124, why=f"no end after {timeout} seconds") from None
    except BaseException:
        _end(child)
        raise
    done = Completed(tuple(argv), child.returncode, out, err)
    if check and done.code != 0:
        raise errors.CommandFailed(program=argv[0], code=done.code, why=done.why)
    return done


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill and reap.  A child of another user (sudo) cannot be killed: it ends when its pipes are closed."""
    try:
        child.kill()
    except PermissionError:
        pass_by = child.stdout, child.stderr, child.stdin
        for pipe in pass_by:
            if pipe is not None:
                pipe.close()
    child.wait()

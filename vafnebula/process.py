"""run(): the only place that starts a program and waits for it, on the front-end, on a node and in the lab.

Argument lists only, never shell text; stdin closed unless given; bytes in, bytes out; LC_ALL=C so that messages
can be recognised.  The time limit has no default: a caller that may wait for ever says `timeout=None` aloud.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

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
        nothing = f"ended by signal {-self.code}" if self.code < 0 else "it said nothing"
        return errors.one_line(said.decode(errors="replace")) or nothing


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
    child = _start(argv, input is not None, env, cwd, pass_fds)
    done = _wait([(argv, child)], input, timeout)[0]
    if check:
        _check(done)
    return done


def run_together(
    argvs: Sequence[Sequence[str]],
    *,
    timeout: float | None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> list[Completed]:
    """Run several programs at once, each of few words (their output waits in pipes), and check them all.

    Raises CommandFailed for the first that failed, after all have ended; no child outlives the call.
    """
    children: list[tuple[Sequence[str], subprocess.Popen[bytes]]] = []
    try:
        for argv in argvs:
            children.append((argv, _start(argv, False, env, None, pass_fds)))
    except BaseException:
        for _, child in children:
            _end(child)
        raise
    done = _wait(children, None, timeout)
    for one in done:
        _check(one)
    return done


def pipe(producer: Sequence[str], consumer: Sequence[str], *, timeout: float | None) -> None:
    """Run `producer`, whose output is `consumer`'s input, to the end of both.

    Raises CommandFailed for the one that failed, the consumer first: a producer may fail because nobody reads.
    """
    children: list[tuple[Sequence[str], subprocess.Popen[bytes]]] = []
    try:
        children.append((producer, _start(producer, False, None, None, ())))
        source = children[0][1].stdout
        assert source is not None
        children.append((consumer, _start(consumer, source, None, None, ())))
        source.close()
        children[0][1].stdout = None
    except BaseException:
        for _, child in children:
            _end(child)
        raise
    for one in reversed(_wait(children, None, timeout)):
        _check(one)


class Piped:
    """A program that is talked with: `feed` goes to its stdin, `out` comes from its stdout."""

    def __init__(self, argv: Sequence[str], child: subprocess.Popen[bytes]) -> None:
        self._argv = argv
        self._child = child
        self.feed = cast(BinaryIO, child.stdin)
        self.out = cast(BinaryIO, child.stdout)

    def finish(self, last: bytes = b"") -> Completed:
        """Close its stdin and wait for its end: the rest of its stdout, behind `last`, and its stderr (short)."""
        with contextlib.suppress(BrokenPipeError):  # it has ended: why, it says itself
            self.feed.close()
        out = last + self.out.read()
        err = cast(BinaryIO, self._child.stderr).read()
        return Completed(tuple(self._argv), self._child.wait(), out, err)


@contextmanager
def piped(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Iterator[Piped]:
    """Run `argv` beside the block; what still runs when the block is left is killed.  Raises CommandFailed."""
    child = _start(argv, True, env, None, ())
    try:
        yield Piped(argv, child)
    finally:
        if child.poll() is None:
            _end(child)
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _start(
    argv: Sequence[str],
    feed: bool | IO[bytes],
    env: Mapping[str, str] | None,
    cwd: str | None,
    pass_fds: Sequence[int],
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            stdin={True: subprocess.PIPE, False: subprocess.DEVNULL}[feed] if isinstance(feed, bool) else feed,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ if env is None else env, LC_ALL="C"),
            cwd=cwd,
            pass_fds=pass_fds,
        )
    except OSError as e:
        raise errors.CommandFailed(program=argv[0], code=127, why=e.strerror) from e


def _wait(
    children: Sequence[tuple[Sequence[str], subprocess.Popen[bytes]]],
    input: bytes | None,
    timeout: float | None,
) -> list[Completed]:
    done = []
    try:
        for argv, child in children:
            out, err = child.communicate(input, timeout)
            done.append(Completed(tuple(argv), child.returncode, out or b"", err))
    except BaseException as e:
        for _, child in children:
            _end(child)
        if isinstance(e, subprocess.TimeoutExpired):
            why = f"no end after {timeout} seconds"
            raise errors.CommandFailed(program=argv[0], code=124, why=why) from None
        raise
    return done


def _check(done: Completed) -> None:
    if done.code != 0:
        raise errors.CommandFailed(program=done.argv[0], code=done.code, why=done.why)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill and reap.  A child of another user (sudo) cannot be killed: it ends when its pipes are closed."""
    with contextlib.suppress(PermissionError):
        child.kill()
    for pipe in (child.stdout, child.stderr, child.stdin):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what was not written yet has no reader any more
                pipe.close()
    child.wait()

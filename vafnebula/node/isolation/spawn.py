"""run(): start a program and wait for it, as vafnebula.process.run does, for the way of `pre`.

subprocess costs 20 ms at start-up, more than the nft it would start.  posix_spawn needs nothing: input, output and
messages go through anonymous files, so nothing can block, and a pidfd (Linux 5.3) waits with a time limit.
"""

from __future__ import annotations

import os
import select

from vafnebula import errors
from vafnebula.node.isolation.record import record

PIPE_HOLDS = 65536  # what every Linux pipe holds, pipe(7)
ABANDON = 10.0
NFT = (["nft", "-c", "-f", "-"], ["nft", "-f", "-"])  # check, load
SBIN = "/usr/sbin:/usr/bin:/sbin:/bin"  # OpenNebula's ssh sessions have no sbin in PATH


@record
class Ended:
    """A program that ended: `code` is the exit code, negative for a signal."""

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def why(self) -> str:
        """What it said, for a person: one line."""
        said = self.err.strip() or self.out.strip()
        return errors.one_line(said.decode(errors="replace"), 160) or "it said nothing"


class Program:
    """A program that was started.  `stdin` is what it reads; its output and messages go to anonymous files."""

    def __init__(self, argv: list[str], stdin: int) -> None:
        self.argv = argv
        self._files = [os.memfd_create(name) for name in ("stdout", "stderr")]
        actions = [(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate((stdin, *self._files))]
        try:
            self._pid = os.posix_spawnp(argv[0], argv, dict(os.environ, LC_ALL="C"), file_actions=actions)
        except OSError as e:
            self._close()
            raise errors.CommandFailed(program=argv[0], code=127, why=e.strerror) from e

    def end(self, timeout: float, *, check: bool) -> Ended:
        """Wait for its end; see run()."""
        try:
            code = _wait(self.argv[0], self._pid, timeout)
            ended = Ended(tuple(self.argv), code, *(_read(fd) for fd in self._files))
        finally:
            self._close()
        if check and code != 0:
            program = self.argv[2] if self.argv[:2] == ["sudo", "-n"] else self.argv[0]
            if self.argv[0] == "sudo" and ended.err.startswith(b"sudo:"):
                raise errors.SudoRefused(program=program)
            raise errors.CommandFailed(program=program, code=code, why=ended.why)
        return ended

    def _close(self) -> None:
        for fd in self._files:
            os.close(fd)


def run(argv: list[str], *, timeout: float, input: bytes = b"", check: bool = True) -> Ended:
    """Run `argv` to its end with `input` on stdin; `timeout` in seconds, after which it is killed.

    Raises CommandFailed when it cannot be started, takes too long or, with `check`, ends with a code other than 0;
    SudoRefused when sudo has no rule for it.
    """
    stdin = os.memfd_create("stdin")
    try:
        _write(stdin, input)
        program = Program(argv, stdin)
    finally:
        os.close(stdin)
    return program.end(timeout, check=check)


class Waiting:
    """A program started ahead of its input.  Loading its libraries takes nft as long as its work, sudo even longer;
    meanwhile we think about what to tell it."""

    def __init__(self, argv: list[str]) -> None:
        reader, self._pipe = os.pipe()
        try:
            self._program = Program(argv, reader)
        finally:
            os.close(reader)

    def run(self, input: bytes, timeout: float) -> Ended:
        """As run().  The input arrives whole or, should we be killed now, not at all: one write into a pipe that holds
        it all does not sleep.  Nothing at all is an empty program, which nft takes for done."""
        if len(input) > PIPE_HOLDS:
            self.abandon()
            return run(self._program.argv, timeout=timeout, input=input)
        try:
            os.write(self._pipe, input)
        except BrokenPipeError:
            pass  # it has ended already, and its messages say why
        finally:
            os.close(self._pipe)
            self._pipe = -1
        return self._program.end(timeout, check=True)

    def abandon(self) -> None:
        """Let it end without input; nothing when it has run."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
            self._program.end(ABANDON, check=False)


def nft_ahead() -> tuple[Waiting, ...]:
    """nft twice, to check and to load, waiting for their program."""
    ready: list[Waiting] = []
    for argv in NFT:
        try:
            ready.append(Waiting(as_root(argv)))
        except errors.Error:
            abandon(tuple(ready))
            raise
    return tuple(ready)


def abandon(ready: tuple[Waiting, ...]) -> None:
    """Let go of all that still wait."""
    for waiting in ready:
        waiting.abandon()


def as_root(argv: list[str]) -> list[str]:
    """`argv` as oneadmin must call it."""
    return argv if os.geteuid() == 0 else ["sudo", "-n", *argv]


def with_sbin() -> None:
    """Let programs be found as an admin would find them."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{SBIN}".lstrip(":")


def _wait(program: str, pid: int, timeout: float) -> int:
    ended = False
    try:
        pidfd = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            ended = bool(poll.poll(timeout * 1000))
        finally:
            os.close(pidfd)
    finally:
        if not ended:  # too slow, or a signal handler raised: do not leave it behind
            _kill(pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not ended:
        raise errors.CommandFailed(program=program, code=124, why=f"no end after {timeout} seconds")
    return code


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except PermissionError:  # sudo, which runs as root, ends when its child does
        return


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)


def _read(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)

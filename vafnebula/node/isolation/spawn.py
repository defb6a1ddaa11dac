"""run(): start a program and wait for it, as vafnebula.process.run does, for the way of `pre`.

subprocess costs 20 ms at start-up, more than the nft it would start.  posix_spawn needs nothing: input, output and
messages go through anonymous files, so nothing can block, and a pidfd (Linux 5.3) waits with a time limit.
"""

from __future__ import annotations

import os
import select

from vafnebula import errors
from vafnebula.node.isolation.record import record

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


def run(argv: list[str], *, timeout: float, input: bytes = b"", check: bool = True) -> Ended:
    """Run `argv` to its end with `input` on stdin; `timeout` in seconds, after which it is killed.

    Raises CommandFailed when it cannot be started, takes too long or, with `check`, ends with a code other than 0;
    SudoRefused when sudo has no rule for it.
    """
    environment = dict(os.environ, LC_ALL="C")
    files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    try:
        _write(files[0], input)
        actions = [(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate(files)]
        try:
            pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
        except OSError as e:
            raise errors.CommandFailed(program=argv[0], code=127, why=e.strerror) from e
        code = _wait(argv[0], pid, timeout)
        ended = Ended(tuple(argv), code, _read(files[1]), _read(files[2]))
    finally:
        for fd in files:
            os.close(fd)
    if check and code != 0:
        program = argv[2] if argv[:2] == ["sudo", "-n"] else argv[0]
        if argv[0] == "sudo" and ended.err.startswith(b"sudo:"):
            raise errors.SudoRefused(program=program)
        raise errors.CommandFailed(program=program, code=code, why=ended.why)
    return ended


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

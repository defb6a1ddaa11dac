"""Locks between actions on one node: flock on files in lock_dir (/var/lock/one, which OpenNebula's packages make).

    vm-<VM>              shared by actions on its disks, exclusive for the delete of its directory
    disk-<VM>-<DISK>     one action at a time on a disk
    origin-<VG>-<KEY>    exclusive to fill or evict (single flight), shared while a snapshot of it is made
    vg-<VG>              check-room-and-create of a fill, eviction; metadata only, never while copying

Always taken in this order.  Copies inherit the descriptors: when an action is killed, its lock lasts until its orphaned
`dd` has ended, so nobody starts over beside it.  The holder writes `pid start-time what` into the file, for the
message of those who wait in vain and for `interrupt`.

An origin's lock file also keeps, in its mtime, when the origin was last used.  That is a hint for eviction only:
losing it at reboot makes an origin look older, never wrong.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vafnebula import errors, log

_POLL = 0.02  # seconds; flock has no time limit of its own, and alarm signals belong to signals.py
_LOGGED = 1.0  # seconds of waiting that are worth a line


@contextmanager
def hold(directory: str, name: str, what: str, *, wait: float, shared: bool = False) -> Iterator[int]:
    """Hold lock `name` while the block runs; yields the descriptor, for pass_fds.

    `what` says who we are, e.g. "clone of disk 0 of VM 7".  Raises Busy, naming the holder, after `wait` seconds;
    CommandFailed when the lock file cannot be made.
    """
    path = f"{directory}/vafnebula-{name}.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as e:
        raise errors.BadConfig(path=directory, why=f"lock_dir cannot be used ({e.strerror})") from e
    try:
        _take(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, name, wait)
        if not shared:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()} {_started(os.getpid())} {what}\n".encode(), 0)
        try:
            yield fd
        finally:
            if not shared:
                os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def _take(fd: int, kind: int, name: str, wait: float) -> None:
    begin = time.monotonic()
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            waited = time.monotonic() - begin
            if waited >= wait:
                _, _, holder = _holder(fd)
                raise errors.Busy(what=f"lock {name}", why=f"held by {holder} for over {wait:g} seconds") from None
            time.sleep(_POLL)
    waited = time.monotonic() - begin
    if waited > _LOGGED:
        log.event("lock", name=name, waited=waited)


def interrupt(directory: str, name: str, only: str = "") -> None:
    """Ask the action that holds lock `name`, if any, to stop and undo itself; another delete is left alone.

    With `only`, no other action than that one is asked.

    Only a live process whose start time is the recorded one is signalled, so a recycled pid is safe.
    """
    try:
        fd = os.open(f"{directory}/vafnebula-{name}.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # never locked since boot: nobody to interrupt
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, started, what = _holder(fd)
        live = pid not in (0, os.getpid()) and _started(pid) == started
        if live and not what.startswith("delete") and what.startswith(only):
            log.event("interrupt", pid=pid, holder=what)
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGTERM)
    finally:
        os.close(fd)


def last_used(directory: str, name: str) -> float:
    """Epoch seconds of the last `mark_used` of lock `name`, 0 when unknown."""
    try:
        return os.stat(f"{directory}/vafnebula-{name}.lock").st_mtime
    except OSError:
        return 0.0


def mark_used(fd: int) -> None:
    os.utime(fd)


def _holder(fd: int) -> tuple[int, int, str]:
    words = os.pread(fd, 200, 0).decode(errors="replace").split(maxsplit=2)
    if len(words) < 3 or not words[0].isdigit() or not words[1].isdigit():
        return 0, 0, "a reader"
    return int(words[0]), int(words[1]), words[2].strip()


def _started(pid: int) -> int:
    """Start time of `pid` in clock ticks since boot, 0 when it is gone (proc(5), field 22 of stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return int(f.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0

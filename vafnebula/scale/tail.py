"""Follow a log as `tail -F` does, without a thread: `news()` is asked now and then, and costs one stat.

It bears rotation (another inode under the name: the old file is read to its end first), truncation (read from the
start), a name that changes at midnight (TORQUE's accounting/YYYYMMDD), a file that is not there yet, and a line that
is half written.  A line only means "look": nothing is parsed out of it but whether it matters.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from vafnebula import errors

CHUNK = 1024 * 1024
"""Bytes that are read of one log at a time.  More than that at once is a flood: its end is as good as its middle."""

PATTERNS = {
    # slurmctld.log: submission, end, requeue, and a node that registered or changed
    "slurm": rb"_slurm_rpc_submit_batch_job: JobId=|_job_complete: JobId=|_slurm_rpc_requeue|Node \S+ (now )?respond"
    rb"|node_did_resp|create_dynamic_reg_node|update_node: node",
    # accounting/YYYYMMDD of TORQUE and OpenPBS: MM/DD/YYYY HH:MM:SS;C;jobid;text
    "torque": rb"^\d\d/\d\d/\d{4} \d\d:\d\d:\d\d;[QSEDARCT];",
    # EVENT_LOG of a schedd: submitted, executing, ended, aborted, held, released, evicted
    "htcondor": rb"^(000|001|004|005|009|012|013) \(",
    # a file that somebody appends a line to, such as job_submit.lua
    "file": rb"",
}


class BadWatch(errors.SiteError):
    sentence = "[watch] {what}: {why}; known kinds are " + ", ".join(sorted(PATTERNS))


class Tail:
    """`name` gives the path by the clock; what is there already when it starts is not news."""

    def __init__(self, name: Callable[[float], Path], pattern: bytes, clock: Callable[[], float] = time.time) -> None:
        self._name, self._pattern, self._clock = name, re.compile(pattern), clock
        self._file: int | None = None
        self._path: Path | None = None
        self._at = 0
        self._rest = b""
        self._enter(start=False)

    def news(self) -> int:
        """How many lines that matter were written since the last call."""
        if self._file is None:
            self._enter(start=True)
        found = self._read()
        if self._moved():
            found += self._read()  # what was written between our read and the rename
            self.close()
            self._enter(start=True)
            found += self._read()
        return found

    @property
    def follows(self) -> Path | None:
        """What is being followed; None while it is not there or not readable."""
        return self._path if self._file is not None else None

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._rest = None, b""

    def _enter(self, start: bool) -> None:
        self._path = self._name(self._clock())
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:  # not yet, or not for us: the periodic snapshot sees what we miss
            return
        self._at = 0 if start else os.fstat(self._file).st_size

    def _moved(self) -> bool:
        """Whether the name stands for another file now."""
        if self._file is None:
            return False
        path = self._name(self._clock())
        try:
            there = path.stat()
        except OSError:
            return False  # between two files; go on with the one we have
        ours = os.fstat(self._file)
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _read(self) -> int:
        if self._file is None:
            return 0
        try:
            size = os.fstat(self._file).st_size
            if size < self._at:
                self._at, self._rest = 0, b""
            if size - self._at > CHUNK:
                self._at, self._rest = size - CHUNK, b""
            text = os.pread(self._file, size - self._at, self._at)
        except OSError:
            self.close()
            return 0
        self._at += len(text)
        *lines, self._rest = (self._rest + text).split(b"\n")
        self._rest = self._rest[-4096:]
        return sum(1 for line in lines if self._pattern.search(line))


def watch(kind: str, path: str) -> Tail:
    """A tail for what a configuration names: `torque /var/spool/torque/server_priv/accounting/%Y%m%d`.

    A path with a % is a pattern of strftime, in local time as the batch systems have it.  Raises BadWatch.
    """
    if kind not in PATTERNS:
        raise BadWatch(what=kind, why="unknown kind")
    if not path.startswith("/"):
        raise BadWatch(what=path, why="must be an absolute path")
    if "%" in path:
        return Tail(lambda now: Path(time.strftime(path, time.localtime(now))), PATTERNS[kind])
    return Tail(lambda now: Path(path), PATTERNS[kind])

"""The journal: one JSON line per thing decided, tried and done.  It is the scaler's memory and the audit log.

A line is on disk (fsync) before the act it announces, so what happened before a crash is never more than what the
journal says was begun.  A torn last line is an act that never began: it is cut off.  Rotation writes a checkpoint
(all that later lines build on) into a new file, beside the old one, and renames it into place: at any moment the
current file alone is enough to start from.

    {"at": 1795255526.1, "kind": "intent", "act": "3f..", "verb": "launch", ...}
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from vafnebula import errors, log

Record = Mapping[str, Any]
"""A line: `at` (seconds since the epoch), `kind`, and the facts of that kind."""

CURRENT = "journal.jsonl"
CHECKPOINT = "checkpoint"


class Locked(errors.HostError):
    sentence = "{directory} is in use by another scaler: {who}; only one may act, stop it first"


class NotWritten(errors.HostError):
    sentence = "the journal {path} cannot be written: {why}; nothing is done until it can"


class Journal:
    """The journal in `directory`, held by one process.  Raises Locked when another one has it, NotWritten.

    `limit` is the size in bytes at which `full` becomes true; `keep` old files are kept.
    """

    def __init__(
        self,
        directory: Path,
        limit: int = 16 * 1024 * 1024,
        keep: int = 10,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory, self._limit, self._keep, self._clock = directory, limit, keep, clock
        self._path = directory / CURRENT
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(directory)
            for torn in directory.glob("*.new"):  # a rotation that was killed
                torn.unlink()
            self._file = self._open()
        except OSError as e:
            raise NotWritten(path=self._path, why=e.strerror) from e

    def write(self, kind: str, **facts: Any) -> None:
        """Append a line, and return when it is on disk.  Raises NotWritten; the journal then ends as before."""
        line = _line({"at": self._clock(), "kind": kind, **facts})
        start = os.fstat(self._file).st_size
        try:
            _put(self._file, line)
        except OSError as e:
            os.ftruncate(self._file, start)
            raise NotWritten(path=self._path, why=e.strerror) from e

    def replay(self) -> Iterator[Record]:
        """The lines of the current file: a checkpoint first, if there was ever one, and all that came after it."""
        return read(self._path)

    @property
    def full(self) -> bool:
        return os.fstat(self._file).st_size >= self._limit

    def rotate(self, drop: Collection[str] = (), **state: Any) -> None:
        """Begin a new file with a checkpoint of `state`; the old one becomes journal.<when>.jsonl.

        There it lacks the facts named in `drop`, which only a replay needs: the audit log then reaches further back.
        """
        at = self._clock()
        fresh = self._directory / (CURRENT + ".new")
        try:
            with fresh.open("wb") as file:
                file.write(_line({"at": at, "kind": CHECKPOINT, **state}))
                file.flush()
                os.fsync(file.fileno())
            old = self._directory / f"journal.{time.time_ns()}.jsonl"
            _copy(self._path, old, drop)
            fresh.replace(self._path)
            _sync(self._directory)
            os.close(self._file)
            self._file = self._open()
            for path in archive(self._directory)[: -self._keep]:
                path.unlink()
        except OSError as e:
            raise NotWritten(path=self._path, why=e.strerror) from e

    def close(self) -> None:
        """Let go of the journal; again is harmless."""
        for file in (self._file, self._lock):
            if file >= 0:
                os.close(file)
        self._file = self._lock = -1

    def _open(self) -> int:
        new = not self._path.exists()
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if new:
            _sync(self._directory)
        torn = _torn(file)
        if torn:
            log.trouble("journal", found="torn last line cut off", bytes=torn)
            os.ftruncate(file, os.fstat(file).st_size - torn)
            os.fsync(file)
        return file


def read(path: Path) -> Iterator[Record]:
    """The readable lines of a journal file, which may be in use; a missing file has none."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            record = _record(line)
            if record is not None:
                yield record
            elif line.endswith(b"\n"):
                log.trouble("journal", found="unreadable line passed over", path=path, line=number)


def archive(directory: Path) -> list[Path]:
    """The files that rotation left, oldest first."""
    return sorted(directory.glob("journal.[0-9]*.jsonl"))


def tail(directory: Path, count: int) -> list[Record]:
    """The last `count` lines, reaching into older files."""
    lines: list[Record] = []
    for path in [directory / CURRENT, *reversed(archive(directory))]:
        lines = [*read(path), *lines]
        if len(lines) >= count:
            break
    return lines[-count:] if count else []


def _line(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _record(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    usable = isinstance(record, dict) and isinstance(record.get("kind"), str) and line.endswith(b"\n")
    return record if usable else None


def _copy(source: Path, target: Path, drop: Collection[str]) -> None:
    """`target` is there whole or not at all."""
    fresh = target.with_suffix(".new")
    with fresh.open("wb") as file:
        for record in read(source):
            file.write(_line({k: v for k, v in record.items() if k not in drop}))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)


def _put(file: int, line: bytes) -> None:
    if os.write(file, line) != len(line):
        raise OSError(0, "no room for a whole line")
    os.fsync(file)


def _torn(file: int) -> int:
    """How many bytes after the last newline there are."""
    size = os.fstat(file).st_size
    found = b""
    while len(found) < size:
        step = min(65536, size - len(found))
        found = os.pread(file, step, size - len(found) - step) + found
        at = found.rfind(b"\n")
        if at >= 0:
            return len(found) - at - 1
    return size


def _lock(directory: Path) -> int:
    file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.pread(file, 40, 0).decode(errors="replace").strip()
        os.close(file)
        raise Locked(directory=directory, who=f"process {who}" if who else "a process") from None
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

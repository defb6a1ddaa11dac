"""The bell: a datagram socket that anything may poke, and logs that are followed.  An event says "look", nothing else.

Pokes come in bursts (an array of 1000 jobs, 40 VMs that start), so a look waits until it was quiet for `quiet`
seconds, at most `patience` after the first.  Whether events are lost, forged or doubled does not matter: what is
looked at is a full snapshot, and every `period` seconds there is one without any event.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vafnebula import errors, log
from vafnebula.scale.poke import LIMIT
from vafnebula.scale.tail import Tail

GLANCE = 0.25
"""Seconds between two glances at the logs."""
BREATH = 0.05
"""Seconds between two readings of a socket that is never empty."""


class NoSocket(errors.SiteError):
    sentence = "the event socket {path} cannot be made: {why}; is its directory there and ours?"


@dataclass(frozen=True)
class Timing:
    """Seconds.  `spacing` is the least time between two looks, whatever is poked: a flood costs no more than that."""

    quiet: float = 0.5
    patience: float = 3.0
    period: float = 60.0
    spacing: float = 0.5


@dataclass(frozen=True)
class Debounce:
    """When to look next: pure.  `first` and `last` are the times of the first and the latest unanswered event."""

    timing: Timing
    looked: float
    first: float | None = None
    last: float | None = None

    def poked(self, now: float) -> Debounce:
        return Debounce(self.timing, self.looked, now if self.first is None else self.first, now)

    def due(self) -> float:
        """The time of the next look."""
        timer = self.looked + self.timing.period
        if self.first is None or self.last is None:
            return timer
        settled = min(self.last + self.timing.quiet, self.first + self.timing.patience)
        return min(timer, max(settled, self.looked + self.timing.spacing))


class Bell:
    """The socket at `path`, and `tails`.  `wait()` returns what rang.  Raises NoSocket."""

    def __init__(
        self,
        path: Path,
        timing: Timing,
        tails: Sequence[Tail] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self.timing, self.tails, self._clock = path, timing, tails, clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()  # a dead scaler's: the journal's lock says that no other one lives
            self._socket.bind(str(path))
            path.chmod(0o666)  # a poke carries nothing: slurmctld, oneadmin and the batch server all may
        except OSError as e:
            self._socket.close()
            raise NoSocket(path=path, why=e.strerror) from e
        self._socket.setblocking(False)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, looked: float, until: float | None = None) -> list[str]:
        """Sleep until the next look is due; `looked` and `until` (an earlier end) on the monotonic clock.

        Returns what rang, without doubles, at most 20; nothing means that the period ended.
        """
        state = Debounce(self.timing, looked)
        rang: dict[str, None] = {}
        while True:
            now = self._clock()
            heard = self._heard()
            for word in heard:
                state = state.poked(now)
                if len(rang) < 20:
                    rang[word] = None
            due = state.due() if until is None else min(state.due(), until)
            if now >= due or "stop" in rang:
                if rang:
                    log.event("poked", by=next(iter(rang)), kinds=len(rang))
                return list(rang)
            if heard:  # whoever floods the socket gets a look, not our CPU
                select.select([self._wake_read], [], [], min(due - now, BREATH))
                continue
            patience = min(due - now, GLANCE) if self.tails else due - now
            sources: list[socket.socket | int] = [self._socket, self._wake_read]
            select.select(sources, [], [], patience)

    def wake(self, word: bytes = b"!") -> None:
        """Ring from a signal handler or another thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, word)

    def close(self) -> None:
        self._socket.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        for tail in self.tails:
            tail.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _heard(self) -> list[str]:
        words = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(1000):  # a flood must not keep us here
                word = self._socket.recv(LIMIT).decode(errors="replace")
                words.append(errors.one_line(word, 80) or "poke")
        with contextlib.suppress(BlockingIOError):
            asked = os.read(self._wake_read, 4096)
            words.append("stop" if b"." in asked else "wake")
        for tail in self.tails:
            if tail.news():
                words.append("log")
        return words

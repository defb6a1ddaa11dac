"""A small farm in memory: OpenNebula and a batch system as the scaler's loop meets them, with a fuse.

Every effect passes `fuse.burn()` before and after it happens; when the fuse is used up the scaler dies there
(Killed is no Exception, so nothing catches it), and the farm goes on.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vafnebula.one.vms import Unanswered
from vafnebula.scale.batch import BatchView
from vafnebula.scale.cloud import Seen
from vafnebula.scale.journal import Journal
from vafnebula.scale.loop import Scaler
from vafnebula.scale.model import Job, Node, Policy, Pool, Quota, Shape, Source, Start, Template, Terminate, Timers, Vm
from vafnebula.units import GIB

ONE = Shape(1, GIB)
BOOT = 30.0


class Killed(BaseException):
    """SIGKILL."""


@dataclass
class Fuse:
    """How many more effects may begin or end before the scaler dies; None: it lives."""

    left: int | None = None
    passed: int = 0

    def burn(self) -> None:
        self.passed += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed


@dataclass
class Machine:
    id: int
    action: Start
    born: float
    over: bool = False
    draining: str = ""


@dataclass
class Work:
    id: str
    seconds: float
    since: float
    host: int | None = None
    began: float = 0.0
    done: bool = False
    killed: bool = False


@dataclass
class Farm:
    """`now` moves by `pass_time`.  One job fills one VM.

    With `silences`, one start in four gets no answer: it was made, or will be in a few seconds, or never.
    """

    now: float = 1_000_000.0
    fuse: Fuse = field(default_factory=Fuse)
    machines: dict[int, Machine] = field(default_factory=dict)
    work: list[Work] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    silences: random.Random | None = None
    late: list[tuple[float, Start]] = field(default_factory=list)

    def submit(self, count: int, seconds: float = 60.0) -> None:
        for _ in range(count):
            self.work.append(Work(f"{len(self.work) + 1}", seconds, self.now))

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1
            self._run()

    def alive(self) -> list[Machine]:
        return [m for m in self.machines.values() if not m.over]

    def up(self, machine: Machine) -> bool:
        return not machine.over and self.now - machine.born >= BOOT

    def waiting(self) -> list[Work]:
        return [w for w in self.work if not w.done and w.host is None]

    def _make(self, action: Start) -> Machine:
        machine = Machine(len(self.machines) + 1, action, self.now)
        self.machines[machine.id] = machine
        return machine

    def _run(self) -> None:
        for due, action in list(self.late):
            if due <= self.now:
                self.late.remove((due, action))
                self._make(action)
        for w in self.work:
            if w.host is not None and not w.done:
                if self.machines[w.host].over:
                    w.killed, w.host = True, None
                elif self.now - w.began >= w.seconds:
                    w.done, w.host = True, None
        busy = {w.host for w in self.work}
        free = [m for m in self.machines.values() if self.up(m) and not m.draining and m.id not in busy]
        for w, m in zip(self.waiting(), free, strict=False):
            w.host, w.began = m.id, self.now

    # the batch system

    def observe(self) -> BatchView:
        jobs = tuple(
            Job(
                w.id,
                ONE,
                "running" if w.host is not None else "waiting",
                since=w.since,
                hosts=(f"vaf-{w.host}",) if w.host is not None else (),
            )
            for w in self.work
            if not w.done
        )
        busy = {w.host for w in self.work if not w.done}
        nodes = tuple(
            Node(
                f"vaf-{m.id}",
                ONE,
                Shape(0) if m.id in busy else ONE,
                "up",
                bool(m.draining),
                m.draining,
                int(m.id in busy),
            )
            for m in self.machines.values()
            if self.up(m)
        )
        return BatchView(jobs, nodes)

    def drain(self, node: str, reason: str) -> None:
        self.fuse.burn()
        self.machines[int(node[4:])].draining = reason
        self.fuse.burn()

    def undrain(self, node: str) -> None:
        self.fuse.burn()
        self.machines[int(node[4:])].draining = ""
        self.fuse.burn()

    def remove(self, node: str) -> None:
        self.fuse.burn()
        self.fuse.burn()

    # OpenNebula

    def look(self) -> Seen:
        vms = tuple(
            Vm(
                m.id,
                m.action.pool,
                m.action.request,
                m.action.template,
                "running" if self.up(m) else "booting",
                f"vaf-{m.id}",
                "node1",
                ONE,
                m.born,
            )
            for m in self.alive()
        )
        return Seen(Source(self.now), vms)

    def leads(self) -> bool:
        return True

    def start(self, action: Start) -> int:
        self.fuse.burn()
        self.calls.append(action.request)
        if self.silences is not None and self.silences.random() < 0.25:
            fate = self.silences.choice(["made", "late", "never"])
            if fate == "made":
                self._make(action)
            elif fate == "late":
                self.late.append((self.now + 3, action))
            self.fuse.burn()
            raise Unanswered(where="here", method="one.template.instantiate", why="timed out", advice="see oned.log")
        machine = self._make(action)
        self.fuse.burn()
        return machine.id

    def terminate(self, action: Terminate) -> str:
        self.fuse.burn()
        self.machines[action.vm].over = True
        self._run()
        self.fuse.burn()
        return "terminated"


class Book(Journal):
    """The real journal, which may also die in the middle of a line or around a rotation."""

    fuse = Fuse()

    def write(self, kind: str, **facts: Any) -> None:
        self.fuse.burn()
        try:
            self.fuse.burn()
        except Killed:
            line = json.dumps({"at": 0, "kind": kind, **facts}).encode()
            os.write(self._file, line[: len(line) // 2])
            raise
        super().write(kind, **facts)
        self.fuse.burn()

    def rotate(self, drop: Collection[str] = (), **state: Any) -> None:
        self.fuse.burn()
        super().rotate(drop, **state)
        self.fuse.burn()


def policy(most: int = 6, **timers: float) -> Policy:
    quick = Timers(**{"come_alive": 120.0, "job_alive": 60.0, "keep_alive": 20.0, "error_delay": 0.0, **timers})
    pool = Pool("batch", (Template("worker", 5, ONE),), quota=Quota(vms=most), timers=quick)
    return Policy((pool,), shrink=1.0, request_lost=300.0)


def scaler(farm: Farm, directory: Path, wanted: Policy | None = None, limit: int = 16 * 1024 * 1024) -> Scaler:
    book = Book(directory, limit=limit, clock=lambda: farm.now)
    book.fuse = farm.fuse
    return Scaler(wanted or policy(), farm, farm, book, settle=5.0, clock=lambda: farm.now)  # type: ignore[arg-type]


def cycles(made: Scaler, farm: Farm, steps: Sequence[float]) -> None:
    for seconds in steps:
        made.cycle()
        farm.pass_time(seconds)

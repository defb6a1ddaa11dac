"""What the scaler costs: the daemon's real bell, loop, journal and adapters, beside the threshold policy of old.

reaction-p50, -p95    from an event to the call that instantiates a VM, debounce included: a real datagram socket, loop
                      and journal before a site in memory; beside the threshold policy in a simulated site
decide-10k, -growth   decide with 10 000 jobs of 24 shapes, 1000 nodes and VMs, 3 templates; beside 1000 jobs
cycle-slurm, -torque  CPU of a whole cycle at 10 000 jobs and 1000 nodes, the most there may be: adapter,
                      decide, journal
broken-image          launches in a simulated day when no VM ever joins
impossible-job        launches in a simulated day for jobs that fit no template
killed-jobs           jobs killed by ending a VM in a simulated month in which everything fails now and then
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from vafnebula import process
from vafnebula.bench import record, rounds, scaletext
from vafnebula.bench.record import Record
from vafnebula.scale import simulate
from vafnebula.scale.batch import Batch, BatchView, slurm, torque
from vafnebula.scale.calm import undisturbed
from vafnebula.scale.cloud import Cloud, Seen
from vafnebula.scale.decide import decide
from vafnebula.scale.events import Bell, Timing
from vafnebula.scale.journal import Journal
from vafnebula.scale.loop import Scaler
from vafnebula.scale.memory import Memory
from vafnebula.scale.model import (
    Job,
    Node,
    Policy,
    Pool,
    Quota,
    Shape,
    Snapshot,
    Source,
    Start,
    Template,
    Terminate,
    Vm,
)
from vafnebula.scale.poke import poke
from vafnebula.scale.threshold import Threshold
from vafnebula.scale.world import Faults, Work, World
from vafnebula.units import GIB

DAY = 86400.0
SMALL = Template("small", 1, Shape(4, 8 * GIB))
LARGE = Template("large", 2, Shape(8, 32 * GIB))
GPU = Template("gpu", 3, Shape(16, 64 * GIB, 1, frozenset({"a100"})))
TEN = Policy((Pool("w", (SMALL,), quota=Quota(10)),))
MANY = Policy((Pool("w", (SMALL,), quota=Quota(10_000)),))
FULL = Policy((Pool("w", (SMALL, LARGE, GPU), quota=Quota(1000)),))
FARM = Policy((Pool("w", (SMALL, LARGE, GPU), quota=Quota(2000)),))
Tell = Callable[[str], None]


def run(events: int, month: float, tell: Tell = lambda _: None) -> list[Record]:
    """All measurements: `events` for the reaction, `month` simulated days with faults."""
    return [*reaction(events, tell), *deciding(tell), *cycles(tell), *days(month, tell)]


@dataclass
class Site:
    """A queue and a cloud in memory, as the loop meets them.  A submitted job waits until a VM is asked for it."""

    jobs: list[Job] = field(default_factory=list)
    nodes: tuple[Node, ...] = ()
    vms: tuple[Vm, ...] = ()
    asked: list[float] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)

    def observe(self) -> BatchView:
        return BatchView(tuple(self.jobs), self.nodes)

    def look(self) -> Seen:
        return Seen(Source(time.time()), self.vms)

    def leads(self) -> bool:
        return True

    def start(self, action: Start) -> int:
        """The VM is there at once and its job runs: what comes later is not measured."""
        self.asked.append(time.monotonic())
        n = len(self.asked)
        self.jobs.clear()
        self.vms = (*self.vms, Vm(n, action.pool, action.request, action.template, node=f"vaf-{n}"))
        self.nodes = (*self.nodes, Node(f"vaf-{n}", action.shape, replace(action.shape, cores=0), jobs=1))
        self.answered.set()
        return n

    def terminate(self, action: Terminate) -> str:
        return action.id


def reaction(events: int, tell: Tell) -> list[Record]:
    took = _ours(events, tell)
    tell("reaction: the threshold policy")
    beside = _theirs(200)
    out = []
    for name, share, goal in (("reaction-p50", 0.5, 1.5), ("reaction-p95", 0.95, 3.0)):
        ours, old = (simulate.Result(waits=w).wait(share) for w in (took, beside))
        case = f"{events} events, single and in bursts"
        out.append(Record(name, f"{case}: bell, loop, journal", "s", round(ours, 3), round(min(took), 3), goal))
        out.append(Record(name, "200 jobs: threshold policy, simulated", "s", round(old, 1), round(min(beside), 1)))
        out.append(Record(name, case, "ratio to threshold", round(ours / old, 4), round(min(took) / min(beside), 4)))
    return out


def _ours(events: int, tell: Tell) -> list[float]:
    """Seconds from the first poke of a job, or of a burst of ten, to the call."""
    chance, site, took = random.Random(1), Site(), []  # noqa: S311  when pokes come, nothing secret
    with tempfile.TemporaryDirectory(prefix="vafnebula-bench-") as directory:
        socket = Path(directory) / "events"
        bell, book = Bell(socket, Timing(), []), Journal(Path(directory) / "state")
        scaler = Scaler(MANY, cast(Batch, site), cast(Cloud, site), book)
        over = threading.Event()

        def wheel() -> None:
            looked = -1e9
            while not over.is_set():
                rang = bell.wait(looked)
                looked = time.monotonic()
                scaler.cycle(rang)

        thread = threading.Thread(target=wheel)
        thread.start()
        try:
            for n in range(events):
                time.sleep(chance.uniform(0.0, 1.5))
                site.answered.clear()
                began = time.monotonic()
                site.jobs.append(Job(f"{n}", Shape(1, GIB), since=time.time()))
                for _ in range(10 if n % 2 else 1):
                    poke(str(socket), "bench")
                    time.sleep(0.03 if n % 2 else 0.0)
                if site.answered.wait(90.0):
                    took.append(site.asked[-1] - began)
                else:
                    took.append(90.0)
                tell(f"reaction: {took[-1]:.2f} s")
        finally:
            over.set()
            bell.wake()
            thread.join()
            bell.close()
            book.close()
    return took


def _theirs(count: int) -> list[float]:
    """Seconds from a job to the launch for it, one at a time, in a simulated site."""
    chance, took = random.Random(2), []  # noqa: S311
    for n in range(count):
        world = World(TEN, seed=n)
        submitted = chance.uniform(100.0, 200.0)
        world.submit(Work("j", Shape(1, GIB), submitted, 60.0))
        simulate.run(world, Threshold(TEN), 400.0)
        took.append(world.launches[0][0] - submitted)
    return took


def farm(jobs: int, nodes: int) -> Snapshot:
    """A farm at work: `jobs` waiting in 24 shapes, `nodes` VMs of eight cores with 0 to 3 of them free."""
    kinds = [Shape(c, c * m * GIB, 0, frozenset(f)) for c in (1, 2, 4, 8) for m in (1, 2, 4) for f in ((), ("a100",))]
    source = Source(1e9)
    return Snapshot(
        1e9,
        source,
        source,
        tuple(Job(f"{i}", kinds[i % len(kinds)], since=1e9 - i) for i in range(jobs)),
        tuple(Node(f"n{i}", LARGE.shape, Shape(i % 4, (i % 4) * 4 * GIB), jobs=4, vm=i) for i in range(nodes)),
        tuple(Vm(i, "w", f"r{i}", "large", "running", f"n{i}", "h", LARGE.shape, 1e9) for i in range(nodes)),
    )


def _seconds(snapshot: Snapshot, memory: Memory) -> float:
    began = time.process_time()
    decide(snapshot, memory, FARM)
    return time.process_time() - began


def deciding(tell: Tell) -> list[Record]:
    tell("decide")
    farms = {"big": farm(10_000, 1000), "tenth": farm(1000, 100), "few": farm(1000, 1000)}
    settled = {name: decide(f, Memory("bench"), FARM).memory for name, f in farms.items()}
    took = rounds.alternate(21, {n: lambda n=n: 1e3 * _seconds(farms[n], settled[n]) for n in farms})  # type: ignore[misc]
    return [
        record.plain("decide-10k", "10 000 jobs, 1000 nodes, 3 templates", "ms CPU", took["big"], 50.0),
        record.ratio(
            "decide-growth", "10 000 : 1000 jobs, 1000 : 100 nodes", "ratio", took["big"], took["tenth"], 15.0
        ),
        record.ratio("decide-growth", "10 000 : 1000 jobs, 1000 nodes", "ratio", took["big"], took["few"]),
    ]


class Commands:
    """A batch system's commands that answer at once with recorded text."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self.answers = answers

    def __call__(
        self,
        argv: list[str],
        *,
        timeout: float | None,
        input: bytes | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> process.Completed:
        name = argv[-1] if argv[-1] in self.answers else argv[0]  # scontrol by its last word
        return process.Completed(tuple(argv), 0, self.answers.get(name, b""), b"")


def cycles(tell: Tell) -> list[Record]:
    shown = farm(10_000, 1000)
    batches: dict[str, tuple[Batch, float]] = {
        "slurm": (slurm.Slurm({}, Commands(scaletext.slurm(shown))), 0.15),
        "torque": (torque.Torque({}, Commands(scaletext.torque(shown))), 0.4),
    }
    out = []
    for name, (batch, goal) in batches.items():
        tell(f"cycle: {name}")
        site = Site(vms=shown.vms)
        with tempfile.TemporaryDirectory(prefix="vafnebula-bench-") as directory:
            book = Journal(Path(directory) / "state")
            scaler = Scaler(FULL, batch, cast(Cloud, site), book)
            took = []
            for _ in range(16):
                began = time.process_time()
                report = scaler.cycle()
                took.append(time.process_time() - began)
                if len(report.snapshot.jobs) != 10_000 or len(report.snapshot.nodes) != 1000:
                    tell(f"cycle: {name} was not understood: {report.snapshot.batch.why}")
            book.close()
        parse = [_observed(batch) for _ in range(7)]
        out.append(
            record.plain(f"cycle-{name}", "10 000 jobs, 1000 nodes, at the limit: whole cycle", "s CPU", took[1:], goal)
        )
        out.append(record.plain(f"cycle-{name}", "of which looking and parsing", "s CPU", parse))
    return out


def _observed(batch: Batch) -> float:
    began = time.process_time()
    with undisturbed():
        batch.observe()
    return time.process_time() - began


def days(month: float, tell: Tell) -> list[Record]:
    """Simulated days: counts, the same on every machine."""
    forty = [Work(f"j{i}", Shape(1, GIB), 10.0, 600.0) for i in range(40)]
    huge = [Work(f"j{i}", Shape(64, GIB), 10.0, 600.0) for i in range(5)]
    out = []
    for name, works, faults, goal in (
        ("broken-image", forty, Faults(broken=frozenset({"small"})), 50.0),
        ("impossible-job", huge, Faults(), 0.0),
    ):
        for driver, aim in (("vafnebula", goal), ("threshold", None)):
            tell(f"{name}: {driver}")
            world = World(TEN, faults, seed=1)
            world.submit_all(replace(w) for w in works)
            simulate.run(world, _driver(driver), DAY)
            case, count = f"{len(works)} jobs, 10 VMs at most: {driver}", float(len(world.launches))
            out.append(Record(name, case, "launches a day", count, count, aim))
    for driver, aim in (("vafnebula", 0.0), ("threshold", None)):
        tell(f"killed-jobs: {driver}")
        world = rough(month)
        simulate.run(world, _driver(driver, rough=True), month * DAY)
        done = sum(w.ended is not None for w in world.works.values())
        case = f"{month:g} days, {done} of {len(world.works)} jobs done, {len(world.lost)} lost with dead VMs: {driver}"
        count = float(len(world.killed))
        out.append(Record("killed-jobs", case, "jobs", count, count, aim))
    return out


def _driver(name: str, *, rough: bool = False) -> simulate.Driver:
    if name == "threshold":
        return Threshold(TEN)
    return simulate.Scaler(TEN, delay=2.0, die=0.01, jump=0.001) if rough else simulate.Scaler(TEN)


def rough(days: float) -> World:
    """A site where everything fails now and then: calls, answers, boots, VMs, looks."""
    faults = Faults(
        boot=(20.0, 90.0), never=0.05, life=2 * DAY, lag=10.0, refuse=0.03, unanswered=0.03, partial=0.03, forget=0.003
    )
    world = World(TEN, faults, seed=3)
    chance = random.Random(4)  # noqa: S311
    when, n = 0.0, 0
    while when < days * DAY - 7200.0:
        seconds = chance.choice([30.0, 300.0, 1200.0, 5400.0])
        shape = Shape(chance.choice([1, 1, 2, 4]), GIB)
        for _ in range(chance.choice([1, 1, 3, 12])):
            world.submit(Work(f"j{n}", shape, when + chance.uniform(0.0, 60.0), seconds * chance.uniform(0.5, 1.5)))
            n += 1
        when += chance.expovariate(1 / 2400.0)
    return world


def summary(records: list[Record]) -> str:
    """One line: what was missed."""
    missed = [r.id for r in records if r.met is False]
    return f"missed: {', '.join(missed)}" if missed else "all goals met"

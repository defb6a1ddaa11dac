"""The real decide against a simulated world: what would it cost, how long would jobs wait?

A driver wakes up, looks at the world and acts.  Ours is the loop's rhythm around decide (debounced events, a periodic
look); the other one is the threshold policy that ours has to beat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from vafnebula.scale import lastlook, outcome
from vafnebula.scale.decide import Decision, decide
from vafnebula.scale.memory import Memory
from vafnebula.scale.model import Action, Policy, Snapshot, Terminate
from vafnebula.scale.world import Faults, Refused, Unanswered, Work, World

NEVER = float("inf")
DEBOUNCE, AT_MOST, PERIOD = 0.5, 3.0, 60.0


class Driver(Protocol):
    """`wake` is when it wants to run next; `poke` tells it that something happened."""

    wake: float

    def poke(self, now: float) -> None: ...

    def run(self, world: World) -> None: ...


class Scaler:
    """decide in the loop's rhythm.  `seen` and `last` are those of the latest cycle.

    For a rough life: `delay` is the most that an action takes, during which the world goes on; `die` the chance to be
    killed before an action and started again; `jump` the chance per cycle that the wall clock is set anew.
    """

    def __init__(self, policy: Policy, farm: str = "sim", *, delay: float = 0.0, die: float = 0.0, jump: float = 0.0):
        self.policy, self.memory = policy, Memory(farm)
        self.delay, self.die, self.jump = delay, die, jump
        self.wake, self.first = 0.0, NEVER
        self.seen: Snapshot | None = None
        self.last: Decision | None = None
        self.cycles = 0

    def poke(self, now: float) -> None:
        self.first = min(self.first, now)
        self.wake = min(self.wake, now + DEBOUNCE, self.first + AT_MOST)

    def run(self, world: World) -> None:
        if self.jump and world.random.random() < self.jump:
            world.offset += world.random.choice([-7200.0, -60.0, 30.0, 86400.0])
        self.wake, self.first = world.now + PERIOD, NEVER
        self.cycles += 1
        self.seen = world.look()
        self.last = decide(self.seen, self.memory, self.policy)
        self.memory = self.last.memory  # which the loop writes before it acts
        for action in self.last.actions:
            if self.die and world.random.random() < self.die:
                self._restart(world)
                return
            if self.delay:
                world.advance(world.now + self.delay * world.random.random())
            self._act(world, action)

    def _act(self, world: World, action: Action) -> None:
        if isinstance(action, Terminate) and action.hard and lastlook.came(world.view(), action):
            self.memory = outcome.refused(self.memory, action, "it joined meanwhile")
            return
        try:
            world.do(action)
        except Refused as e:
            self.memory = outcome.refused(self.memory, action, str(e))
        except Unanswered:
            return  # the next looks will tell

    def _restart(self, world: World) -> None:
        """Requests that OpenNebula does not know were never sent."""
        self.wake = world.now + 10.0
        known = {m.request for m in world.machines.values()}
        for request in list(self.memory.requests):
            if request not in known:
                self.memory = outcome.forgotten(self.memory, request)


@dataclass(frozen=True)
class Sample:
    """Cores at a moment: in VMs that are ready, in all VMs, needed by running and by waiting jobs."""

    at: float
    ready: int
    all: int
    running: int
    waiting: int


@dataclass
class Result:
    """What a run cost.  Waits in seconds of the jobs that started; `unstarted` are those that never did."""

    waits: list[float] = field(default_factory=list)
    unstarted: int = 0
    vm_hours: float = 0.0
    waste: float = 0.0
    launches: int = 0
    killed: int = 0
    lost: int = 0
    most_vms: int = 0
    end: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    def wait(self, share: float) -> float:
        """The percentile `share` of the waits, in seconds; 0 without any."""
        ordered = sorted(self.waits)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def run(
    world: World,
    driver: Driver,
    until: float,
    *,
    every: float = NEVER,
    watch: Callable[[World], None] = lambda _: None,
    stop_when_done: bool = False,
) -> Result:
    """Let the world go on until `until` (seconds from its beginning) with `driver` at the wheel.

    `every` so many seconds a Sample is taken; `watch` is called after each wake-up of the driver.  `stop_when_done`:
    end earlier, when all jobs have run and no VM is left.
    """
    world.pokes = lambda: driver.poke(world.now)
    samples, sample = [], 0.0
    while True:
        upcoming = min(world.next(), driver.wake, sample if every != NEVER else NEVER)
        if upcoming >= until:
            break
        world.advance(upcoming)
        if every != NEVER and world.now >= sample:
            samples.append(measured(world))
            sample += every
        if driver.wake <= world.now:
            driver.run(world)
            watch(world)
            if stop_when_done and quiet(world):
                break
    if not stop_when_done:
        world.advance(until)
    return replace(result(world), samples=samples)


def quiet(world: World) -> bool:
    """Whether nothing will happen any more and no VM is left."""
    busy = world.queue or world.running or world.next() != NEVER
    return not busy and all(m.gone is not None for m in world.machines.values())


def measured(world: World) -> Sample:
    alive = [m for m in world.machines.values() if m.gone is None]
    return Sample(
        world.now,
        sum(m.template.shape.cores for m in alive if m.joined is not None and m.state == "running"),
        sum(m.template.shape.cores for m in alive),
        sum(w.shape.cores * w.nodes for w in world.running.values()),
        sum(w.shape.cores * w.nodes for w in world.queue.values() if not w.held),
    )


def result(world: World) -> Result:
    works: Iterable[Work] = world.works.values()
    waits = [w.started - w.submitted for w in works if w.started is not None]
    wasted = 1 - world.busy_core_seconds / world.core_seconds if world.core_seconds else 0.0
    return Result(
        waits,
        sum(w.started is None and w.ended is None for w in works),
        world.vm_seconds / 3600,
        wasted,
        len(world.launches),
        len(world.killed),
        len(world.lost),
        world.most_vms,
        world.now,
    )


def compare(policy: Policy, works: Sequence[Work], faults: Faults, *, seed: int, until: float) -> dict[str, Result]:
    """The same jobs in the same site under decide and under the threshold policy, by name, with 400 samples each."""
    from vafnebula.scale.threshold import Threshold

    drivers: dict[str, Driver] = {"vafnebula": Scaler(policy), "threshold": Threshold(policy)}
    results = {}
    for name, driver in drivers.items():
        world = World(policy, faults, seed=seed)
        world.submit_all(replace(w) for w in works)
        results[name] = run(world, driver, until, every=until / 400, stop_when_done=False)
    return results


def horizon(works: Sequence[Work]) -> float:
    """Seconds after which a simulation of `works` has seen all that matters: the last job could have run, and more."""
    last = max((w.submitted + w.seconds for w in works), default=0.0)
    return last + 4 * 3600.0

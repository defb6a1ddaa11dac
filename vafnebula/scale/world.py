"""A simulated site: OpenNebula, a batch system, users, and what can go wrong.  Deterministic for a seed.

Time is the world's own; `wall()` is what a clock on the wall shows, which may jump.  VMs boot, join, run jobs and die
by events; a scheduler as simple as can be (first fit, in order of submission, with backfill) starts jobs.  Nothing here
knows how decide works: it sees a Snapshot and sends actions, as in life.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from vafnebula.scale.batch import BatchView
from vafnebula.scale.model import (
    Action,
    Drain,
    Job,
    JobState,
    Node,
    NodeState,
    Policy,
    RemoveNode,
    Shape,
    Snapshot,
    Source,
    Start,
    Template,
    Terminate,
    Undrain,
    Vm,
    VmState,
)

EPOCH = 1_700_000_000.0


class Refused(Exception):
    """OpenNebula or the batch system said no: nothing was done."""


class Unanswered(Exception):
    """No answer came: it may have been done or not."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong: chances per call or VM, and seconds.

    `boot` is the range from host to join.  `broken` templates never join; `fizzling` ones join and die.  A VM dies
    under its jobs after `life` seconds on average.  `lag` delays what OpenNebula lists.  `refuse` and `unanswered` are
    chances of a call, of which half are done when unanswered.  `partial` is the chance that a look at a source is
    incomplete.  `short` is the share of its memory that a VM keeps from jobs.  `forget` is the chance per look that the
    batch system lists no node at all although it claims to be complete.
    """

    boot: tuple[float, float] = (25.0, 45.0)
    broken: frozenset[str] = frozenset()
    fizzling: frozenset[str] = frozenset()
    never: float = 0.0
    life: float = float("inf")
    lag: float = 0.0
    refuse: float = 0.0
    unanswered: float = 0.0
    partial: float = 0.0
    forget: float = 0.0
    short: float = 0.0
    stop: float = 20.0


@dataclass
class Work:
    """A job of the simulated queue: it runs for `seconds` once it starts, or `never` starts whatever is free."""

    id: str
    shape: Shape
    submitted: float
    seconds: float
    nodes: int = 1
    never: bool = False
    held: bool = False
    started: float | None = None
    ended: float | None = None
    hosts: tuple[str, ...] = ()
    run: int = 0


@dataclass
class Host:
    """A node of the batch system; `vm` -1 is a physical one."""

    name: str
    offer: Shape
    vm: int = -1
    up: bool = True
    draining: bool = False
    note: str = ""
    jobs: dict[str, Work] = field(default_factory=dict)
    last_busy: float = 0.0

    def free(self) -> Shape:
        if any(j.shape.whole for j in self.jobs.values()):
            return Shape(0, 0, 0, self.offer.features, self.offer.queues)
        used = [j.shape for j in self.jobs.values()]
        return Shape(
            self.offer.cores - sum(max(1, s.cores) for s in used),
            self.offer.memory - sum(s.memory for s in used),
            self.offer.gpus - sum(s.gpus for s in used),
            self.offer.features,
            self.offer.queues,
        )


@dataclass
class Machine:
    """A VM; `gone` is when OpenNebula was done with it."""

    id: int
    pool: str
    request: str
    template: Template
    created: float
    state: VmState = "booting"
    joined: float | None = None
    gone: float | None = None

    @property
    def node(self) -> str:
        return f"vaf-{self.id}"


class World:
    """The site.  `pokes` is called whenever something happened that a scaler would be told of."""

    def __init__(self, policy: Policy, faults: Faults | None = None, *, seed: int = 0) -> None:
        self.policy, self.faults = policy, faults or Faults()
        self.random = random.Random(seed)  # noqa: S311  a simulation must be repeatable, not secret
        self.now = 0.0
        self.offset = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.machines: dict[int, Machine] = {}
        self.hosts: dict[str, Host] = {}
        self.works: dict[str, Work] = {}
        self.queue: dict[str, Work] = {}
        self.running: dict[str, Work] = {}
        self.blind: set[str] = set()
        self.pokes: Callable[[], None] = lambda: None
        self.launches: list[tuple[float, str]] = []
        self.killed: list[tuple[float, str, str]] = []
        self.lost: list[tuple[float, str]] = []
        self.foreign: set[int] = set()
        self.vm_seconds = 0.0
        self.busy_core_seconds = 0.0
        self.core_seconds = 0.0
        self.most_vms = 0

    # time

    def wall(self) -> float:
        return EPOCH + self.now + self.offset

    def at(self, when: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (max(when, self.now), self.count, what))

    def next(self) -> float:
        return self.events[0][0] if self.events else float("inf")

    def advance(self, to: float) -> None:
        """Let everything happen that happens until `to`."""
        while self.events and self.events[0][0] <= to:
            when, _, what = heapq.heappop(self.events)
            self._pass(when)
            what()
        self._pass(to)

    def _pass(self, to: float) -> None:
        seconds = to - self.now
        if seconds > 0:
            alive = [m for m in self.machines.values() if m.gone is None]
            self.vm_seconds += seconds * len(alive)
            self.core_seconds += seconds * sum(m.template.shape.cores for m in alive)
            self.busy_core_seconds += seconds * sum(
                w.shape.cores * sum(1 for h in w.hosts if self.hosts[h].vm >= 0) for w in self.running.values()
            )
            self.now = to

    # users and machines

    def physical(self, name: str, offer: Shape) -> None:
        self.hosts[name] = Host(name, offer)

    def submit(self, work: Work) -> None:
        def arrive() -> None:
            self.works[work.id] = self.queue[work.id] = work
            self.schedule()
            self.pokes()

        self.at(work.submitted, arrive)

    def submit_all(self, works: Iterable[Work]) -> None:
        for work in works:
            self.submit(work)

    def cancel(self, work: Work) -> None:
        self.queue.pop(work.id, None)
        work.ended = self.now

    def schedule(self) -> None:
        """Start what fits."""
        refused: set[tuple[Shape, int]] = set()
        for work in sorted(self.queue.values(), key=lambda w: (w.submitted, w.id)):
            kind = (work.shape, work.nodes)
            if kind in refused or work.never or work.held:
                continue
            places = [h for h in self.hosts.values() if self._takes(h, work.shape)][: work.nodes]
            if len(places) < work.nodes:
                refused.add(kind)
                continue
            work.started, work.hosts = self.now, tuple(h.name for h in places)
            work.run += 1
            for host in places:
                host.jobs[work.id] = work
                host.last_busy = self.now
            self.running[work.id] = self.queue.pop(work.id)
            self.at(self.now + work.seconds, lambda w=work, run=work.run: self._end(w, run))  # type: ignore[misc]

    def _takes(self, host: Host, need: Shape) -> bool:
        if not host.up or host.draining or (need.whole and host.jobs):
            return False
        return host.free().holds(need) > 0

    def _end(self, work: Work, run: int) -> None:
        if work.run != run or work.id not in self.running:
            return
        work.ended = self.now
        self._release(work)
        self.schedule()
        self.pokes()

    def _release(self, work: Work) -> None:
        del self.running[work.id]
        for name in work.hosts:
            host = self.hosts.get(name)
            if host is not None:
                host.jobs.pop(work.id, None)
                host.last_busy = self.now
        work.hosts = ()

    def _requeue(self, host: Host) -> list[str]:
        works = list(host.jobs.values())
        for work in works:
            self._release(work)
            work.started = None
            work.run += 1
            self.queue[work.id] = work
        return [w.id for w in works]

    def instantiate(self, pool: str, template: Template, request: str) -> Machine:
        machine = Machine(len(self.machines), pool, request, template, self.now)
        self.machines[machine.id] = machine
        self.launches.append((self.now, f"{pool}/{template.name}"))
        alive = sum(m.gone is None and m.id not in self.foreign for m in self.machines.values())
        self.most_vms = max(self.most_vms, alive)
        f = self.faults
        boot = self.random.uniform(*f.boot)
        self.at(self.now + 0.4 * boot, lambda: self._state(machine, "running"))
        if template.name not in f.broken and self.random.random() >= f.never:
            self.at(self.now + boot, lambda: self._join(machine))
        return machine

    def _state(self, machine: Machine, state: VmState) -> None:
        if machine.gone is None and machine.state in ("pending", "booting"):
            machine.state = state

    def _join(self, machine: Machine) -> None:
        if machine.gone is not None or machine.state != "running":
            return
        machine.joined = self.now
        offer = machine.template.shape
        offer = replace(offer, memory=int(offer.memory * (1 - self.faults.short)))
        self.hosts[machine.node] = Host(machine.node, offer, machine.id)
        if machine.template.name in self.faults.fizzling:
            self.at(self.now + 1.0, lambda: self.die(machine))
        elif self.faults.life != float("inf"):
            self.at(self.now + self.random.expovariate(1 / self.faults.life), lambda: self.die(machine))
        self.schedule()
        self.pokes()

    def die(self, machine: Machine) -> None:
        """It crashes under its jobs: the batch system notices and requeues them."""
        if machine.gone is not None or machine.state in ("stopping", "failed"):
            return
        machine.state = "failed"
        host = self.hosts.get(machine.node)
        if host is not None:
            host.up = False
            self.lost += [(self.now, j) for j in self._requeue(host)]
        self.schedule()
        self.pokes()

    # what a scaler sees

    def look(self) -> Snapshot:
        f = self.faults
        at = self.wall()
        whole = {s: s not in self.blind and self.random.random() >= f.partial for s in ("batch", "cloud")}
        jobs = tuple(self._job(w) for w in (*self.queue.values(), *self.running.values()))
        nodes = tuple(self._node(h) for h in self.hosts.values())
        if f.forget and self.random.random() < f.forget:
            nodes = tuple(n for n in nodes if self.hosts[n.name].vm < 0)
        vms = tuple(self._vm(m) for m in self.machines.values() if self._listed(m))
        cut = {s: 1.0 if whole[s] else self.random.random() for s in whole}
        return Snapshot(
            self.wall(),
            Source(at, whole["batch"], "" if whole["batch"] else "simulated"),
            Source(at, whole["cloud"], "" if whole["cloud"] else "simulated"),
            jobs[: int(len(jobs) * cut["batch"])],
            nodes[: int(len(nodes) * cut["batch"])],
            vms[: int(len(vms) * cut["cloud"])],
        )

    def view(self) -> BatchView:
        """The batch system alone, just now."""
        if "batch" in self.blind:
            return BatchView(complete=False, why="simulated")
        jobs = tuple(self._job(w) for w in (*self.queue.values(), *self.running.values()))
        return BatchView(jobs, tuple(self._node(h) for h in self.hosts.values()))

    def _listed(self, m: Machine) -> bool:
        if m.created + self.faults.lag > self.now and self.faults.lag:
            return False
        return m.gone is None or m.gone + self.faults.lag > self.now

    def _job(self, w: Work) -> Job:
        if w.started is not None:
            return Job(w.id, w.shape, "running", w.nodes, "", EPOCH + w.submitted, w.hosts)
        state: JobState = "held" if w.held else "waiting"
        return Job(w.id, w.shape, state, w.nodes, "JobHeldUser" if w.held else "Resources", EPOCH + w.submitted)

    def _node(self, h: Host) -> Node:
        vm = h.vm if h.vm >= 0 else None
        state: NodeState = "up" if h.up else "down"
        return Node(h.name, h.offer, h.free(), state, h.draining, h.note, len(h.jobs), vm, h.last_busy)

    def _vm(self, m: Machine) -> Vm:
        return Vm(m.id, m.pool, m.request, m.template.name, m.state, m.node, "h1", m.template.shape, EPOCH + m.created)

    # what a scaler does

    def do(self, action: Action) -> None:
        """Raises Refused, Unanswered."""
        side = "cloud" if isinstance(action, (Start, Terminate)) else "batch"
        if side in self.blind or self.random.random() < self.faults.refuse:
            raise Refused("simulated")
        unanswered = self.random.random() < self.faults.unanswered
        if unanswered and self.random.random() < 0.5:
            raise Unanswered("simulated")
        self._do(action)
        if unanswered:
            raise Unanswered("simulated")

    def _do(self, action: Action) -> None:
        if isinstance(action, Start):
            pool = self.policy.pool(action.pool)
            template = pool.template(action.template) if pool else None
            if template is None:
                raise Refused("no such template")
            self.instantiate(action.pool, template, action.request)
        elif isinstance(action, Terminate):
            self.terminate(self.machines[action.vm])
        elif isinstance(action, Drain):
            self._drain(action)
        elif isinstance(action, Undrain) and action.node in self.hosts:
            self.hosts[action.node].draining, self.hosts[action.node].note = False, ""
            self.schedule()
        elif isinstance(action, RemoveNode):
            host = self.hosts.get(action.node)
            if host is not None and host.jobs:
                raise Refused("jobs are on it")
            self.hosts.pop(action.node, None)

    def _drain(self, action: Drain) -> None:
        host = self.hosts.get(action.node)
        if host is None:
            raise Refused("no such node")
        host.draining, host.note = True, action.mark

    def terminate(self, machine: Machine) -> None:
        """End it now, whatever runs on it: that is counted."""
        if machine.state == "stopping" or machine.gone is not None:
            return
        machine.state = "stopping"
        host = self.hosts.get(machine.node)
        if host is not None:
            host.up = False
            self.killed += [(self.now, j, machine.node) for j in self._requeue(host)]

        def end() -> None:
            machine.gone = self.now
            self.schedule()
            self.pokes()

        self.at(self.now + self.faults.stop, end)

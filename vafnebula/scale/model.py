"""The records that decide reads and writes.  All frozen; sizes in bytes, times in seconds.

Times of a Snapshot are wall-clock times (seconds since 1970); decide compares them with each other and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Union

from vafnebula.units import GIB, MIB

POOL_LABEL = "VAF_POOL"
REQUEST_LABEL = "VAF_REQUEST"
TEMPLATE_LABEL = "VAF_TEMPLATE"
DRAIN_MARK = "vafnebula:"
"""How the reason, note or message of a drain of ours begins in the batch system."""


# What is seen


@dataclass(frozen=True)
class Shape:
    """What a job needs of one node, or what a node, VM or template offers.

    A need without queues can run in any; an offer without queues serves all.  A needed feature `a|b` is either of them.
    `whole`: the need shares its node with nobody.
    """

    cores: int = 1
    memory: int = 0
    gpus: int = 0
    features: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    whole: bool = False

    def welcomes(self, need: Shape) -> bool:
        """Whether this offer is of the kind that `need` asks for, whatever its size."""
        if not need.features <= self.features:  # the rare case: look at alternatives
            wishes = (wish.split("|") for wish in need.features)
            if not all(any(f in self.features for f in wish) for wish in wishes):
                return False
        return not need.queues or not self.queues or not need.queues.isdisjoint(self.queues)

    def holds(self, need: Shape) -> int:
        """How many times `need` goes into this offer; at least one core is taken as needed."""
        if not self.welcomes(need):
            return 0
        times = self.cores // max(1, need.cores)
        if need.whole:
            times = min(times, 1)
        if need.memory:
            times = min(times, self.memory // need.memory)
        if need.gpus:
            times = min(times, self.gpus // need.gpus)
        return max(0, times)

    def __str__(self) -> str:
        parts = [f"{self.cores} core{'s' * (self.cores != 1)}"]
        if self.memory:
            parts.append(f"{self.memory / GIB:.3g} GiB" if self.memory >= GIB else f"{self.memory / MIB:.3g} MiB")
        if self.gpus:
            parts.append(f"{self.gpus} GPU{'s' * (self.gpus != 1)}")
        parts += [f"feature {f}" for f in sorted(self.features)]
        if self.queues:
            parts.append(f"queue {'|'.join(sorted(self.queues))}")
        if self.whole:
            parts.append("a whole node")
        return ", ".join(parts)


JobState = Literal["waiting", "held", "running"]


@dataclass(frozen=True)
class Job:
    """A job, or one element of a job array.

    `shape` is what it needs on each of `nodes` nodes, which must differ if it is to be `spread`.  `state` is waiting
    only when a VM could help: what waits for anything else (a dependency, a licence, a date, an array's own limit) is
    held, and `why` says for what, in the batch system's word.  `since` is the time of submission; `hosts` are the
    nodes that it runs on.
    """

    id: str
    shape: Shape
    state: JobState = "waiting"
    nodes: int = 1
    why: str = ""
    since: float = 0.0
    hosts: tuple[str, ...] = ()
    user: str = ""
    name: str = ""
    spread: bool = True


NodeState = Literal["up", "down"]


@dataclass(frozen=True)
class Node:
    """A host of the batch system: a VM of ours or a machine that we never touch.

    `free` has what is left of `total` for further jobs.  `jobs` counts the jobs on it, whatever their state: only 0
    means that nothing runs there.  `draining`: takes no further jobs; `note` says why, as the batch system has it.
    `vm` is the VM's id when the batch system carries it; otherwise node and VM meet by name.  `last_busy` is compared
    with its former value only: a change means that something ran since.
    """

    name: str
    total: Shape
    free: Shape
    state: NodeState = "up"
    draining: bool = False
    note: str = ""
    jobs: int = 0
    vm: int | None = None
    last_busy: float = 0.0

    @property
    def drained_by_us(self) -> bool:
        return self.draining and self.note.startswith(DRAIN_MARK)


VmState = Literal["pending", "booting", "running", "failed", "stopping", "other"]


@dataclass(frozen=True)
class Vm:
    """A VM that OpenNebula knows and that carries labels of ours; DONE ones are not listed.

    `state`: pending waits for a host; booting is prolog and boot; running also when OpenNebula lost sight of it
    (UNKNOWN): its node tells more; failed is any failure state; stopping is shutdown and epilog; other is anything that
    a person did (powered off, suspended, held).  `node` is the name that it has or will have in the batch system;
    `template` the policy's name of its template; `shape` what it really has, None when unknown.  `host` is the
    hypervisor, `start` when OpenNebula made the VM.
    """

    id: int
    pool: str
    request: str
    template: str = ""
    state: VmState = "running"
    node: str = ""
    host: str = ""
    shape: Shape | None = None
    start: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Source:
    """Where a part of a snapshot comes from: `at` is when looking began; incomplete ones say `why`."""

    at: float
    complete: bool = True
    why: str = ""


@dataclass(frozen=True)
class Snapshot:
    """The world at one moment, as far as it answered."""

    now: float
    batch: Source
    cloud: Source
    jobs: tuple[Job, ...] = ()
    nodes: tuple[Node, ...] = ()
    vms: tuple[Vm, ...] = ()


# What the admin wants


@dataclass(frozen=True)
class Quota:
    """Upper bounds; None is no bound."""

    vms: int | None = None
    cores: int | None = None
    memory: int | None = None
    gpus: int | None = None


@dataclass(frozen=True)
class Timers:
    """Seconds of observed time.

    come_alive: from the start of a VM until its node is up; the least of a bound that grows with experience.
    job_alive: how long a VM that never had a job waits for one while jobs wait that it could run.
    keep_alive: how long a VM without need stays idle.
    error_delay: how long a failed VM is left for a person to look at.
    stale_node: how long a node may be down or absent before its VM, or the record of a VM that is gone, is removed.
    """

    come_alive: float = 600.0
    job_alive: float = 600.0
    keep_alive: float = 600.0
    error_delay: float = 60.0
    stale_node: float = 900.0


@dataclass(frozen=True)
class Template:
    """An OpenNebula template (`id`) whose VMs offer `shape`; `cost` orders templates, None is by size."""

    name: str
    id: int
    shape: Shape
    cost: float | None = None

    @property
    def price(self) -> float:
        s = self.shape
        return self.cost if self.cost is not None else s.cores + s.memory / (4 * GIB) + 16 * s.gpus


@dataclass(frozen=True)
class Pool:
    """VMs of one purpose.  `min_vms` exist always; `warm_vms` are kept idle beyond what demand needs."""

    name: str
    templates: tuple[Template, ...]
    min_vms: int = 0
    warm_vms: int = 0
    quota: Quota = Quota()
    timers: Timers = Timers()

    def template(self, name: str) -> Template | None:
        return next((t for t in self.templates if t.name == name), None)


@dataclass(frozen=True)
class Policy:
    """What the admin wants.

    `starts` VMs at most per cycle; `booting` VMs at most of one template at a time, and `trial` of one that nothing
    has joined from yet.  `shrink` is the share of a pool that may drain at once, at least one VM.  `delays` are the
    breaker's.  A source older than `stale_after` is not believed.  More than max(`loss_floor`, `loss_share` of ours)
    lost at once holds everything for `loss_hold`.  A VM younger than `orphan_age` is never an orphan; a request whose
    VM is not seen for `request_lost` never came to be.  `max_step` is the longest time between two cycles that counts.
    """

    pools: tuple[Pool, ...]
    quota: Quota = Quota()
    starts: int = 50
    booting: int = 40
    trial: int = 10
    shrink: float = 0.1
    delays: tuple[float, ...] = (0.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
    futile_delay: float = 4 * 3600.0
    stale_after: float = 120.0
    loss_share: float = 0.45
    loss_floor: int = 3
    loss_hold: float = 3600.0
    orphan_age: float = 90.0
    request_lost: float = 300.0
    drain_limit: float = 600.0
    stop_again: float = 300.0
    come_alive_most: float = 4 * 3600.0
    max_step: float = 120.0

    def pool(self, name: str) -> Pool | None:
        return next((p for p in self.pools if p.name == name), None)


# What is done


@dataclass(frozen=True)
class Start:
    """Instantiate `template` (OpenNebula's id `template_id`) with labels pool and request.

    Repeat it only after looking for the request's label: instantiating is not idempotent.
    """

    pool: str
    template: str
    template_id: int
    request: str
    shape: Shape
    why: str

    @property
    def id(self) -> str:
        return f"start:{self.request}"


@dataclass(frozen=True)
class Drain:
    """Let the batch system give `node` no further jobs; `mark` is the reason to leave there.  May be repeated."""

    vm: int
    node: str
    pool: str
    why: str

    @property
    def id(self) -> str:
        return f"drain:{self.vm}"

    @property
    def mark(self) -> str:
        return f"{DRAIN_MARK} {self.why}"


@dataclass(frozen=True)
class Undrain:
    vm: int
    node: str
    pool: str
    why: str

    @property
    def id(self) -> str:
        return f"undrain:{self.vm}"


@dataclass(frozen=True)
class Terminate:
    """End the VM; its node is removed by a RemoveNode of a later cycle.  `hard`: nothing in it could shut down."""

    vm: int
    node: str
    pool: str
    request: str
    hard: bool
    why: str

    @property
    def id(self) -> str:
        return f"terminate:{self.vm}"


@dataclass(frozen=True)
class RemoveNode:
    """Delete from the batch system a node whose VM is gone."""

    node: str
    vm: int
    why: str

    @property
    def id(self) -> str:
        return f"remove:{self.node}"


Action = Union[Start, Drain, Undrain, Terminate, RemoveNode]


# What is said


@dataclass(frozen=True)
class Reason:
    """Why something is done or not: `what` is one word for programs, `text` a sentence for a person."""

    what: str
    text: str


Life = Literal[
    "requested", "booting", "joining", "ready", "draining", "terminating", "gone", "failed", "lost", "parked"
]
"""The way of a VM, and three sidings: failed (it never joined, or OpenNebula says so), lost (its node went), parked (a
person has powered it off or drained it: it is left alone)."""


@dataclass(frozen=True)
class VmView:
    """A VM (or a request of which no VM is seen yet, id -1) with the state of its life."""

    id: int
    pool: str
    template: str
    request: str
    life: Life
    reason: Reason
    node: str = ""
    host: str = ""
    jobs: int = 0


@dataclass(frozen=True)
class PoolView:
    """Supply and demand of a pool, in VMs and cores."""

    name: str
    vms: int
    ready: int
    coming: int
    idle: int
    cores: int
    reason: Reason
    templates: Mapping[str, Reason] = field(default_factory=dict)
    """Per template: the breaker."""


@dataclass(frozen=True)
class ShapeView:
    """Waiting jobs of one shape: how many, how many of them find room now, soon, in VMs being started, or nowhere."""

    shape: Shape
    nodes: int
    jobs: int
    now: int
    coming: int
    started: int
    reason: Reason
    spread: bool = True


@dataclass(frozen=True)
class Reasons:
    """Everything decide saw and why.  `hold` is not None while nothing may be changed or shrunk."""

    pools: tuple[PoolView, ...] = ()
    vms: tuple[VmView, ...] = ()
    shapes: tuple[ShapeView, ...] = ()
    hold: Reason | None = None

    def of_job(self, job: Job) -> Reason:
        """Why `job` runs, waits or is not helped."""
        if job.state == "running":
            return Reason("running", f"it runs on {', '.join(job.hosts) or 'a node'}")
        if job.state == "held":
            return Reason("held", f"a VM would not help: the batch system says {job.why or 'held'}")
        for view in self.shapes:
            if (view.shape, view.nodes, view.spread) == (job.shape, job.nodes, job.spread or job.nodes <= 1):
                return view.reason
        return Reason("unseen", "it was not in the last snapshot")

    def of_vm(self, vm: int) -> Reason | None:
        return next((v.reason for v in self.vms if v.id == vm), None)

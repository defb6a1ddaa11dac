"""What to start: for demand without room, for the least number of VMs, for the warm pool.  Pure.

A VM is started only within five bounds: pool quota, total quota, starts per cycle, the template's breaker, and what the
waiting jobs can use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vafnebula.scale import breaker, fit, futile
from vafnebula.scale.demand import Group
from vafnebula.scale.fit import Bin, Placed
from vafnebula.scale.life import Farm, Unit
from vafnebula.scale.memory import Breaker, Memory, Request, ShapeMemory
from vafnebula.scale.model import Policy, Pool, Quota, Reason, Shape, ShapeView, Start, Template


@dataclass
class Usage:
    """What VMs of a pool, or all, take of a quota."""

    vms: int = 0
    cores: int = 0
    memory: int = 0
    gpus: int = 0

    def add(self, shape: Shape, times: int = 1) -> None:
        self.vms += times
        self.cores += times * shape.cores
        self.memory += times * shape.memory
        self.gpus += times * shape.gpus

    def left(self, quota: Quota, shape: Shape) -> int:
        """How many more VMs of `shape` the quota allows."""
        bounds = (
            (quota.vms, self.vms, 1),
            (quota.cores, self.cores, shape.cores),
            (quota.memory, self.memory, shape.memory),
            (quota.gpus, self.gpus, shape.gpus),
        )
        return max(
            0, min([(most - used) // each for most, used, each in bounds if most is not None and each], default=10**9)
        )


@dataclass
class Growth:
    """The result: actions, what every bin and shape got, and the memory with the new requests."""

    starts: list[Start] = field(default_factory=list)
    shapes: list[ShapeView] = field(default_factory=list)
    templates: dict[str, Reason] = field(default_factory=dict)
    pools: dict[str, Reason] = field(default_factory=dict)
    memory: Memory = field(default_factory=lambda: Memory(""))


class Grow:
    """One cycle's growth.  `bins` is all room there is, the preferred first; what is used of it stays marked in it."""

    def __init__(self, farm: Farm, bins: list[Bin], policy: Policy, *, hold: Reason | None) -> None:
        self.policy, self.bins, self.hold = policy, bins, hold
        self.memory = farm.memory
        self.units = farm.units
        self.total = Usage()
        self.used = {p.name: Usage() for p in policy.pools}
        self.coming: Counter[str] = Counter()
        self.undecided: Counter[str] = Counter()
        self.started: Counter[str] = Counter()
        self.budget = 0 if hold else policy.starts
        self.out = Growth()
        for u in farm.units:
            self.total.add(u.shape)
            self.used[u.pool.name].add(u.shape)
            if u.template:
                key = breaker.key(u.pool.name, u.template.name)
                self.coming[key] += u.coming
                self.undecided[key] += u.life == "ready" and u.memory is not None and not u.memory.proven

    def run(self, groups: Sequence[Group]) -> Growth:
        shapes: dict[str, ShapeMemory] = {
            k: m for k, m in self.memory.shapes.items() if m.level >= futile.FUTILE and self.memory.clock < m.until
        }
        for group in groups:
            if group.waiting:
                shapes[group.key] = self.serve(group, self.memory.shapes.get(group.key))
        for pool in self.policy.pools:
            self.fill_up(pool)
        for pool in self.policy.pools:
            for t in pool.templates:
                self.out.templates[breaker.key(pool.name, t.name)] = self.allowed(pool, t)[1]
        requests = {
            s.request: Request(s.request, s.pool, s.template, s.shape, self.memory.clock) for s in self.out.starts
        }
        self.out.memory = replace(
            self.memory,
            shapes=shapes,
            serial=self.memory.serial + len(self.out.starts),
            requests={**self.memory.requests, **requests},
        )
        return self.out

    def lasting(self, pool: Pool, template: Template) -> tuple[int, Reason]:
        """How many VMs of `template` the quotas allow: a job that needs more will not start today or tomorrow."""
        own, total = (
            self.used[pool.name].left(pool.quota, template.shape),
            self.total.left(self.policy.quota, template.shape),
        )
        if own <= total:
            return own, Reason("quota", f"pool {pool.name} is at its quota")
        return total, Reason("quota", "the total quota is reached")

    def passing(self, pool: Pool, template: Template) -> tuple[int, Reason]:
        """How many may start in this cycle, by breaker and budget: a job that needs more gets the rest later."""
        key = breaker.key(pool.name, template.name)
        state = self.memory.breakers.get(key, Breaker())
        under_way = self.coming[key] + (self.undecided[key] if state.fizzled > 1 else 0)
        by_breaker, verdict = breaker.allowance(state, under_way, self.memory.clock, self.policy)
        if self.budget < by_breaker:
            budget = Reason("budget", f"{self.policy.starts} VMs start per cycle, the rest follows")
            return self.budget, self.hold or budget
        return by_breaker, verdict

    def allowed(self, pool: Pool, template: Template) -> tuple[int, Reason]:
        """How many VMs of `template` may start now, and what bounds them most."""
        most, quota = self.lasting(pool, template)
        now, verdict = self.passing(pool, template)
        return (now, verdict) if now <= most else (most, verdict if most else quota)

    def start(self, pool: Pool, template: Template, count: int, why: str) -> list[Bin]:
        made = []
        for _ in range(count):
            serial = self.memory.serial + len(self.out.starts) + 1
            request = f"{self.memory.farm}-{serial}"
            self.out.starts.append(Start(pool.name, template.name, template.id, request, template.shape, why))
            made.append(Bin.of("new", request, self.offer(pool, template)))
        self.coming[breaker.key(pool.name, template.name)] += count
        self.budget -= count
        for usage in (self.total, self.used[pool.name]):
            usage.add(template.shape, count)
        self.bins += made
        return made

    def serve(self, group: Group, before: ShapeMemory | None) -> ShapeMemory:
        """Room for a group: in what is there, then in new VMs."""
        clock = self.memory.clock
        jobs, foreign = futile.believed(before, clock, group.waiting)
        placed = fit.place(group, jobs, self.bins, foreign=foreign)
        left = jobs - placed.now - placed.coming
        reason = None
        if before is not None and not jobs:
            reason = futile.why(before, clock)
        elif left:
            placed.started, reason = self.more(group, left, foreign=foreign)
        counts = (group.waiting, placed.now, placed.coming, placed.started)
        view = ShapeView(group.shape, group.nodes, *counts, _told(placed, left, reason), group.spread)
        self.out.shapes.append(view)
        return futile.learned(before, group, placed, clock, self.policy)

    def more(self, group: Group, jobs: int, *, foreign: bool) -> tuple[int, Reason | None]:
        """Start VMs for `jobs` jobs.  Returns for how many it was possible, and why not for all."""
        rooms = fit.room(group.shape, self.bins, foreign=foreign)
        owner = {id(t): p for p in self.policy.pools for t in p.templates}
        every = [(t, self.offer(p, t)) for p in self.policy.pools for t in p.templates]
        options = fit.cheapest(group, jobs, every, rooms)
        if not options:
            return 0, self.fits_nothing(group, every)
        done, refusals, reachable = 0, [], 0
        for template, offer in options:
            pool, left = owner[id(template)], jobs - done
            most, quota = self.lasting(pool, template)
            now, verdict = self.passing(pool, template)

            def enough(n: int, offer: Shape = offer, most: int = most, rooms: list[tuple[Bin, int]] = rooms) -> bool:
                vms = fit.vms_for(group, n, offer, rooms)
                return vms is not None and vms <= most

            n = fit.largest(left, enough)
            wanted = fit.vms_for(group, n, offer, rooms) or 0
            reachable = max(reachable, n)
            if n and (now or not wanted):
                self.start(pool, template, min(wanted, now), self.cause(group))
                pieces = fit.put(group, n, fit.room(group.shape, self.bins, foreign=foreign))
                done += -(-sum(pieces.values()) // group.nodes)
                rooms = fit.room(group.shape, self.bins, foreign=foreign)
            if done >= jobs:
                return jobs, None
            refusals.append(verdict if n and now < wanted else quota)
        if reachable:  # what is there of a job that gets the rest later is not free for others, nor idle
            fit.put(group, min(reachable, jobs - done), rooms)
        texts = dict.fromkeys(f"{t.name}: {r.text}" for (t, _), r in zip(options, refusals))
        return done, Reason(refusals[0].what, "; ".join(texts))

    def cause(self, group: Group) -> str:
        many = group.waiting != 1
        return f"{group.waiting} job{'s' * many} of {group.shape} wait{'s' * (not many)}, the first is {group.head}"

    def offer(self, pool: Pool, template: Template) -> Shape:
        state = self.memory.breakers.get(breaker.key(pool.name, template.name), Breaker())
        return breaker.offer(state, template.shape)

    def fits_nothing(self, group: Group, every: Sequence[tuple[Template, Shape]]) -> Reason:
        text = f"no template offers {group.shape}" + " on one VM" * (group.nodes > 1)
        less = [
            f"{t.name} has only {real} for jobs" for t, real in every if t.shape.holds(group.shape) and real != t.shape
        ]
        return Reason("fits-nothing", "; ".join([text, *less]))

    def fill_up(self, pool: Pool) -> None:
        """The least number of VMs, and the warm ones: idle or coming, and not needed by any job."""
        free = {b.name for b in self.bins if not b.taken and b.kind != "foreign"}
        mine = [u for u in self.units if u.pool.name == pool.name and (u.life == "ready" or u.coming)]
        new = [s for s in self.out.starts if s.pool == pool.name]
        alive = len(mine) + len(new)
        spare = sum(1 for u in mine if (u.idle or u.coming) and name(u) in free) + sum(s.request in free for s in new)
        missing = max(pool.min_vms - alive, pool.warm_vms - spare)
        if missing <= 0:
            return
        refusals = []
        for template in pool.templates:
            most, refusal = self.allowed(pool, template)
            n = min(missing, most)
            why = f"pool {pool.name} keeps {pool.min_vms} VMs at least and {pool.warm_vms} idle"
            self.start(pool, template, n, why)
            missing -= n
            if not missing:
                return
            refusals.append(f"{template.name}: {refusal.text if not n else self.allowed(pool, template)[1].text}")
        self.out.pools[pool.name] = Reason("short", f"{missing} VMs short of least and warm: {'; '.join(refusals)}")


def name(unit: Unit) -> str:
    """What the unit's bin is called."""
    return f"vm {unit.id}" if unit.id >= 0 else unit.request


def _told(placed: Placed, left: int, reason: Reason | None) -> Reason:
    parts = [
        (placed.now, "can start in free slots now"),
        (placed.coming, "will fit in VMs that are on their way"),
        (placed.started, "get VMs that are started now"),
        (left - placed.started, f"must wait: {reason.text}" if reason else ""),
    ]
    if reason is not None and not any(n for n, _ in parts[:3]):
        return reason
    text = "; ".join(f"{n} job{'s' * (n != 1)} {t}" for n, t in parts if n > 0 and t)
    return Reason(reason.what if reason else "served", text or "nothing is needed")

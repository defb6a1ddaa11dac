"""Where every VM is in its life: snapshot + memory -> units, and what the memory learns from looking.  Pure.

    requested -> booting -> joining -> ready -> draining -> terminating -> gone
    sidings: failed (never joined, or OpenNebula says so), lost (its node went), parked (a person has it)

Every VM is in exactly one state; credit, quota and timers all read this one field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vafnebula.scale import breaker
from vafnebula.scale.clock import span
from vafnebula.scale.memory import Breaker, Memory, VmMemory
from vafnebula.scale.model import Life, Node, Policy, Pool, Shape, Snapshot, Template, Vm

NOTHING = Shape(0)


@dataclass
class Unit:
    """A VM of a pool of ours, or a request (id -1): all that is known of it, put together."""

    id: int
    pool: Pool
    template: Template | None
    memory: VmMemory | None
    life: Life
    request: str
    shape: Shape
    vm: Vm | None = None
    node: Node | None = None
    jobs: int = 0
    why: str = ""

    @property
    def idle(self) -> bool:
        return self.life == "ready" and not self.jobs

    @property
    def coming(self) -> bool:
        return self.life in ("requested", "booting", "joining")


@dataclass
class Farm:
    """All units, the nodes that are not ours, and the memory after looking.

    `remains` are jobless nodes of VMs that are gone.  `lost` of `joined` VMs are out of sight.
    """

    units: list[Unit]
    foreign: list[Node]
    remains: dict[int, Node]
    memory: Memory
    lost: int = 0
    joined: int = 0


def changed(m: VmMemory, **facts: object) -> VmMemory:
    """`m` with `facts`; most often it is the same, and then no time is spent."""
    if all(getattr(m, k) == v for k, v in facts.items()):
        return m
    return replace(m, **facts)  # type: ignore[arg-type]


def look(snapshot: Snapshot, memory: Memory, policy: Policy) -> Farm:
    """What a good snapshot says about every VM of ours.  `memory` has been ticked."""
    return _Look(snapshot, memory, policy).farm()


class _Look:
    def __init__(self, snapshot: Snapshot, memory: Memory, policy: Policy) -> None:
        self.policy, self.clock = policy, memory.clock
        self.before = memory
        self.breakers: dict[str, Breaker] = dict(memory.breakers)
        self.vms = {v.id: v for v in sorted(snapshot.vms, key=lambda v: v.id) if policy.pool(v.pool)}
        self.nodes = {n.name: n for n in sorted(snapshot.nodes, key=lambda n: n.name)}
        short: dict[str, list[Node]] = {}
        for n in self.nodes.values():
            short.setdefault(n.name.split(".")[0], []).append(n)
        self.by_label = {label: found[0] for label, found in short.items() if len(found) == 1}
        self.by_vm = {n.vm: n for n in self.nodes.values() if n.vm is not None}
        self.holding = memory.hold is not None and self.clock - memory.hold < policy.loss_hold
        self.busy: dict[str, int] = {}
        for job in snapshot.jobs:
            if job.state == "running":
                for host in job.hosts:
                    self.busy[host] = self.busy.get(host, 0) + 1
        self.lost = self.joined = 0

    def farm(self) -> Farm:
        units, kept, taken = [], {}, set()
        for vm in self.vms.values():
            unit = self.unit(vm)
            units.append(unit)
            if unit.memory is not None:
                kept[vm.id] = unit.memory
            if unit.node is not None:
                taken.add(unit.node.name)
        for m in self.before.vms.values():
            if m.id not in self.vms:
                ghost = self.absent(m)
                if ghost is not None:
                    kept[m.id] = ghost
                    taken.add(ghost.node)
                    units += self.ghost(ghost)
        requests, seen = {}, {vm.request for vm in self.vms.values()}
        for r in self.before.requests.values():
            if r.id in seen:
                continue
            if self.clock - r.at >= self.policy.request_lost:
                self.fail(r.pool, r.template, r.at, "was asked for and never seen")
                continue
            requests[r.id] = r
            pool = self.policy.pool(r.pool)
            if pool is not None:
                template = pool.template(r.template)
                units.append(
                    Unit(-1, pool, template, None, "requested", r.id, r.shape, why="OpenNebula was asked for it")
                )
        foreign = [n for n in self.nodes.values() if n.name not in taken]
        strays = {
            n.name: self.before.strays.get(n.name, self.clock)
            for n in foreign
            if n.drained_by_us and n.state == "down" and not self.jobs(n)
        }
        learned = replace(self.before, vms=kept, requests=requests, breakers=self.breakers, strays=strays)
        gone = {m.id: self.nodes[m.node] for m in kept.values() if m.gone is not None and m.node in self.nodes}
        remains = {vm: node for vm, node in gone.items() if not self.jobs(node)}
        return Farm(units, foreign, remains, learned, self.lost, self.joined)

    def jobs(self, node: Node) -> int:
        return max(node.jobs, self.busy.get(node.name, 0))

    def node(self, vm: Vm, m: VmMemory) -> Node | None:
        """By the id that the batch system carries, or by name, with or without its domain."""
        name = vm.node or m.node
        return self.by_vm.get(vm.id) or self.nodes.get(name) or self.by_label.get(name)

    def unit(self, vm: Vm) -> Unit:
        pool = self.policy.pool(vm.pool)
        assert pool is not None
        template = pool.template(vm.template)
        shape = template.shape if template else vm.shape or NOTHING
        m = self.before.vms.get(vm.id) or self.adopted(vm)
        node = self.node(vm, m)
        jobs = self.jobs(node) if node else self.busy.get(vm.node or m.node, 0)
        m = self.learn(vm, changed(m, node=node.name if node else m.node or vm.node), node, jobs, pool)
        life, why = self.life(vm, m, node, jobs, pool)
        return Unit(vm.id, pool, template, m, life, vm.request, shape, vm, node, jobs, why)

    def adopted(self, vm: Vm) -> VmMemory:
        request = self.before.requests.get(vm.request)
        return VmMemory(vm.id, vm.pool, vm.template, vm.request, request.at if request else self.clock, vm.node)

    def learn(self, vm: Vm, m: VmMemory, node: Node | None, jobs: int, pool: Pool) -> VmMemory:
        clock, up = self.clock, node is not None and node.state == "up"
        new = m.id not in self.before.vms
        if m.booted is None and vm.state != "pending":
            m = replace(m, booted=m.seen if new else clock)
        if m.gone is not None:
            m = replace(m, gone=None)
        if node is not None and up:
            m = self.seen_up(m, node, jobs, pool, adopted=new and m.request not in self.before.requests)
        elif m.joined is not None:
            self.joined += m.stopped is None
            if m.lost is None:
                m = replace(m, lost=clock, idle=None)
            self.lost += m.stopped is None and m.drained is None and m.failed is None
        if m.drained is None and node is not None and node.drained_by_us:
            m = replace(m, drained=clock)  # by a former self
        return self.judge(vm, m, pool, jobs, up=up)

    def seen_up(self, m: VmMemory, node: Node, jobs: int, pool: Pool, *, adopted: bool) -> VmMemory:
        clock = self.clock
        if m.joined is None:
            m = replace(m, joined=clock)
            if not adopted:
                booted = m.seen if m.booted is None else m.booted
                self.tell(m, breaker.joined(self.breaker(m), m.seen, clock - booted))
        template = pool.template(m.template)
        if template is not None:
            self.tell(m, breaker.taught(self.breaker(m), template.shape, node.total))
        self.joined += m.stopped is None
        ran = node.last_busy != m.last_busy and m.last_busy != 0.0
        age = clock - (clock if m.joined is None else m.joined)
        if not m.proven and ((m.served and not jobs) or age >= pool.timers.job_alive):
            m = replace(m, proven=True)
            self.tell(m, breaker.served(self.breaker(m)))
        if jobs or ran:
            m = changed(m, served=True)
        idle = None if jobs else clock if ran or m.idle is None else m.idle
        return changed(m, idle=idle, lost=None, last_busy=node.last_busy, failed=None)

    def judge(self, vm: Vm, m: VmMemory, pool: Pool, jobs: int, *, up: bool) -> VmMemory:
        """Whether it has failed, and if so whose fault it is."""
        if m.failed is not None or m.stopped is not None:
            return m
        if vm.state == "failed" and not up:
            why = f"failed: {vm.why or 'OpenNebula does not say why'}"
            if m.joined is None:
                self.fail(m.pool, m.template, m.seen, why)
            elif not m.proven:
                self.tell(m, breaker.fizzled(self.breaker(m), m.seen, self.clock, f"joined and then {why}"))
            return replace(m, failed=self.clock)
        if m.joined is None and vm.state in ("pending", "booting", "running"):
            since = m.seen if m.booted is None else m.booted
            limit = breaker.come_alive(self.breaker(m), pool.timers, self.policy)
            if self.clock - since >= limit:
                why = "found no host" if m.booted is None else "did not join"
                self.fail(m.pool, m.template, m.seen, f"{why} within {span(limit)}", late=True)
                return replace(m, failed=self.clock)
        if m.lost is not None and not jobs and not self.holding and self.clock - m.lost >= pool.timers.stale_node:
            if not m.proven:
                self.tell(m, breaker.fizzled(self.breaker(m), m.seen, self.clock, "joined and then its node was lost"))
            return replace(m, failed=self.clock)
        return m

    def life(self, vm: Vm, m: VmMemory, node: Node | None, jobs: int, pool: Pool) -> tuple[Life, str]:
        if vm.state == "stopping" or m.stopped is not None:
            return "terminating", "it was told to end"
        if m.failed is not None:
            return "failed", vm.why or ("its node is lost" if m.joined is not None else "it did not join in time")
        if vm.state == "other":
            return "parked", f"a person has it: {vm.why or 'not running'}"
        if m.joined is not None:
            if node is None or node.state != "up":
                word = "absent from" if node is None else "down in"
                return ("draining" if m.drained is not None else "lost"), f"its node is {word} the batch system"
            if node.draining and m.drained is None:
                return "parked", f"a person drains its node: {node.note or 'no reason given'}"
            if m.drained is not None:
                return "draining", "its node takes no further jobs" if node.draining else "its node was told to drain"
            return "ready", f"{jobs} job{'s' * (jobs != 1)} on it"
        limit = breaker.come_alive(self.breaker(m), pool.timers, self.policy)
        if vm.state == "running":
            return "joining", f"it runs and has {span(limit)} to join the batch system"
        where = f"boots on {vm.host}" if vm.host else "waits for a host"
        return "booting", f"it {where} and has {span(limit)} to join the batch system"

    def absent(self, m: VmMemory) -> VmMemory | None:
        """What to remember of a VM that OpenNebula does not list; None when it can be forgotten."""
        node = self.nodes.get(m.node)
        if m.gone is None:
            m = replace(m, gone=self.clock)
        gone = self.clock - (m.gone or 0.0)
        if m.stopped is None and m.failed is None and (gone < self.policy.orphan_age or self.holding):
            self.lost += m.joined is not None
            self.joined += m.joined is not None
            return m
        if m.stopped is None and m.failed is None:
            if m.joined is None:
                self.fail(m.pool, m.template, m.seen, "vanished before it joined")
            elif not m.proven:
                self.tell(m, breaker.fizzled(self.breaker(m), m.seen, self.clock, "joined and vanished"))
            m = replace(m, failed=self.clock)
        return m if node is not None else None

    def ghost(self, m: VmMemory) -> list[Unit]:
        """A VM that may yet reappear counts for the quota."""
        pool = self.policy.pool(m.pool)
        if pool is None or m.stopped is not None or m.failed is not None:
            return []
        template = pool.template(m.template)
        shape = template.shape if template else NOTHING
        why = "OpenNebula does not list it any more"
        return [Unit(m.id, pool, template, m, "gone", m.request, shape, node=self.nodes.get(m.node), why=why)]

    def breaker(self, m: VmMemory) -> Breaker:
        return self.breakers.get(breaker.key(m.pool, m.template), Breaker())

    def tell(self, m: VmMemory, new: Breaker) -> None:
        self.breakers[breaker.key(m.pool, m.template)] = new

    def fail(self, pool: str, template: str, started: float, why: str, *, late: bool = False) -> None:
        key = breaker.key(pool, template)
        self.breakers[key] = breaker.failed(self.breakers.get(key, Breaker()), started, self.clock, why, late=late)

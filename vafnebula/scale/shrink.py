"""What to end, in two steps: drain -> a later snapshot shows that nothing runs there -> terminate; or undrain.  Pure.

Which: VMs that no waiting job could use, idle for their timer, the longest idle first, never below `min_vms` and the
warm ones, a share of the pool at a time.  Never a node with a job on it, whatever state it is in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vafnebula.scale.clock import span
from vafnebula.scale.fit import Bin
from vafnebula.scale.grow import name
from vafnebula.scale.life import Farm, Unit
from vafnebula.scale.memory import Memory, VmMemory
from vafnebula.scale.model import Action, Drain, Policy, Pool, RemoveNode, Terminate, Undrain


@dataclass
class Shrink:
    """One cycle's shrinking.  `bins` tells what demand uses; the actions and the changed memory stay in it."""

    farm: Farm
    memory: Memory
    policy: Policy
    bins: list[Bin]
    actions: list[Action] = field(default_factory=list)

    def run(self) -> Memory:
        self.changed: dict[int, VmMemory] = dict(self.memory.vms)
        self.clock = self.memory.clock
        self.needed = {b.name for b in self.bins if b.taken}
        self.strays = dict(self.memory.strays)
        for unit in self.farm.units:
            if unit.memory is None:
                continue
            if unit.life == "draining":
                self.drained(unit, unit.memory)
            elif unit.life == "failed":
                self.failed(unit, unit.memory)
            elif unit.life == "terminating":
                self.again(unit, unit.memory)
        for pool in self.policy.pools:
            self.idle(pool)
        self.leftovers()
        return replace(self.memory, vms=self.changed, strays=self.strays)

    def drain(self, unit: Unit, m: VmMemory, why: str) -> None:
        assert unit.node is not None
        self.actions.append(Drain(unit.id, unit.node.name, unit.pool.name, why))
        if m.drained is None:
            self.changed[unit.id] = replace(m, drained=self.clock)

    def undrain(self, unit: Unit, m: VmMemory, why: str) -> None:
        assert unit.node is not None
        self.actions.append(Undrain(unit.id, unit.node.name, unit.pool.name, why))
        self.changed[unit.id] = replace(m, drained=None, idle=None if unit.jobs else self.clock)

    def terminate(self, unit: Unit, m: VmMemory, why: str, *, hard: bool) -> None:
        self.actions.append(Terminate(unit.id, m.node, unit.pool.name, unit.request, hard, why))
        self.changed[unit.id] = replace(m, stopped=self.clock)

    def drained(self, unit: Unit, m: VmMemory) -> None:
        node, waited = unit.node, self.clock - (m.drained or 0.0)
        if node is None or node.state != "up":
            if not unit.jobs and waited >= self.policy.drain_limit:
                self.terminate(unit, m, "it was draining when its node was lost, and no job is listed on it", hard=True)
            return
        if unit.jobs:
            self.undrain(unit, m, "a job started on it before the drain did")
        elif name(unit) in self.needed:
            self.undrain(unit, m, "waiting jobs can use it")
        elif node.draining:
            self.terminate(unit, m, "drained, and no job is on it", hard=False)
        elif waited >= self.policy.drain_limit:
            self.undrain(unit, m, f"the batch system did not drain it within {span(self.policy.drain_limit)}")
        else:
            self.drain(unit, m, "idle (the batch system has not drained it yet)")

    def failed(self, unit: Unit, m: VmMemory) -> None:
        """Gone wrong: left for a look, then drained if it has a node at all, then ended."""
        waited = self.clock - (m.failed if m.failed is not None else self.clock)
        if unit.jobs or waited < unit.pool.timers.error_delay:
            return
        node = unit.node
        if node is None or (node.draining and m.drained is not None and m.drained < self.clock):
            self.terminate(unit, m, unit.why, hard=True)
        elif m.drained is not None and self.clock - m.drained >= self.policy.drain_limit and node.state != "up":
            self.terminate(unit, m, f"{unit.why}; its node cannot be drained but is down, without job", hard=True)
        else:
            self.drain(unit, m, unit.why)

    def again(self, unit: Unit, m: VmMemory) -> None:
        """A VM that does not end is told again; one that was told by someone else is not."""
        if m.stopped is None or self.clock - m.stopped < self.policy.stop_again:
            return
        if unit.jobs:
            return
        self.terminate(unit, m, f"still there {span(self.clock - m.stopped)} after it was told to end", hard=True)

    def idle(self, pool: Pool) -> None:
        mine = [u for u in self.farm.units if u.pool.name == pool.name]
        ready = [u for u in mine if u.life == "ready"]
        alive = len(ready) + sum(u.coming for u in mine)
        spare = sum(1 for u in mine if (u.idle or u.coming) and name(u) not in self.needed)
        most = max(1, int(self.policy.shrink * len(ready))) - sum(u.life == "draining" for u in mine)
        timers = pool.timers
        chosen: list[tuple[float, int, Unit, VmMemory, str]] = []
        for u in ready:
            m = u.memory
            if m is None or m.idle is None or not u.idle or name(u) in self.needed:
                continue
            idle = self.clock - m.idle
            if idle >= (timers.keep_alive if m.served else timers.job_alive):
                what = "idle" if m.served else "without any job since it joined"
                chosen.append((m.idle, -u.id, u, m, f"{what} for {span(idle)}"))
        for _, _, u, m, why in sorted(chosen, key=lambda c: c[:2]):
            if most <= 0 or alive <= pool.min_vms or spare <= pool.warm_vms:
                return
            self.drain(u, m, why)
            most, alive, spare = most - 1, alive - 1, spare - 1

    def leftovers(self) -> None:
        """Nodes of VMs that are gone: ended by us, or lost for long enough, or drained by a former self."""
        for vm, node in self.farm.remains.items():
            m = self.changed[vm]
            pool = self.policy.pool(m.pool)
            wait = pool.timers.stale_node if pool and m.stopped is None else 0.0
            last = m.removed if m.removed is not None else -self.policy.stop_again
            if self.clock - (m.gone or 0.0) >= wait and self.clock - last >= self.policy.stop_again:
                self.actions.append(RemoveNode(node.name, vm, "its VM is gone"))
                self.changed[vm] = replace(m, removed=self.clock)
        patience = min(p.timers.stale_node for p in self.policy.pools)
        for stray, since in self.memory.strays.items():
            if self.clock - since >= patience:
                self.actions.append(RemoveNode(stray, -1, "we drained it, it is down, and no VM of ours has it"))
                self.strays[stray] = self.clock

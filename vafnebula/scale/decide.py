"""decide(snapshot, memory, policy) -> Decision: the whole scaler without its hands.  Pure: no clock, no effects.

    good snapshot? -> tick -> look at every VM -> mass loss? -> place demand, start VMs -> drain, undrain, terminate

Everything decided is already in the returned memory, as an intent: keep it before acting, and tell outcome.py what
became of each action.
"""

from __future__ import annotations

from dataclasses import dataclass

from vafnebula.scale import breaker, clock, demand, guards, life
from vafnebula.scale.fit import Bin
from vafnebula.scale.grow import Grow, Growth, name
from vafnebula.scale.life import Farm, Unit
from vafnebula.scale.memory import Breaker, Memory
from vafnebula.scale.model import Action, Policy, Pool, PoolView, Reason, Reasons, Shape, Snapshot, VmView
from vafnebula.scale.shrink import Shrink


@dataclass(frozen=True)
class Decision:
    """What to do, in this order; what to remember; and why, also of what is not done."""

    actions: tuple[Action, ...]
    memory: Memory
    reasons: Reasons


def decide(snapshot: Snapshot, memory: Memory, policy: Policy) -> Decision:
    """One cycle.  `memory` is the last decision's, with the outcomes of its actions told, or Memory(farm) at first."""
    hold = guards.blind(snapshot, policy)
    now = memory if hold else clock.tick(memory, snapshot, policy)
    farm = life.look(snapshot, now, policy)
    if hold is None:
        farm.memory, hold = guards.mass_loss(farm, policy)
    bins = supply(farm)
    growth = Grow(farm, bins, policy, hold=hold).run(demand.groups(snapshot.jobs))
    if hold is not None:
        kept = memory if now is memory else farm.memory
        return Decision((), kept, _reasons(farm, growth, bins, policy, hold))
    shrink = Shrink(farm, growth.memory, policy, bins)
    after = shrink.run()
    return Decision((*growth.starts, *shrink.actions), after, _reasons(farm, growth, bins, policy, None))


def supply(farm: Farm) -> list[Bin]:
    """All room, in the order of use: machines that are not ours, then ready VMs so that the longest idle one stays
    free, then VMs that could be undrained, then those on their way."""
    bins = [Bin.of("foreign", n.name, n.free, n.jobs) for n in farm.foreign if n.state == "up" and not n.draining]
    ready = [u for u in farm.units if u.life == "ready" and u.node is not None]
    bins += [Bin.of("ready", name(u), u.node.free, u.jobs) for u in sorted(ready, key=_busiest) if u.node]
    for u in farm.units:
        if u.life == "draining" and u.node is not None and u.node.state == "up" and not u.jobs:
            bins.append(Bin.of("reclaim", name(u), u.node.free))
    coming = sorted((u for u in farm.units if u.coming), key=lambda u: (u.life, u.id, u.request))
    bins += [Bin.of("coming", name(u), _promise(farm, u)) for u in coming]
    return bins


def _promise(farm: Farm, unit: Unit) -> Shape:
    """What a VM on its way will offer."""
    if unit.template is None:
        return unit.shape
    state = farm.memory.breakers.get(breaker.key(unit.pool.name, unit.template.name), Breaker())
    return breaker.offer(state, unit.template.shape)


def _busiest(unit: Unit) -> tuple[bool, float, int]:
    idle = unit.memory.idle if unit.memory and unit.memory.idle is not None else 0.0
    return (not unit.jobs, -idle, unit.id)


def _reasons(farm: Farm, growth: Growth, bins: list[Bin], policy: Policy, hold: Reason | None) -> Reasons:
    needed = {b.name for b in bins if b.taken}
    vms = tuple(_view(u, name(u) in needed) for u in farm.units)
    return Reasons(tuple(_pool(p, farm, growth) for p in policy.pools), vms, tuple(growth.shapes), hold)


def _view(u: Unit, needed: bool) -> VmView:
    text = u.why + ("; waiting jobs can use it" if needed and u.life in ("ready", "draining") and not u.jobs else "")
    m = u.memory
    node = u.node.name if u.node else m.node if m else ""
    host = u.vm.host if u.vm else ""
    template = u.template.name if u.template else u.vm.template if u.vm else ""
    return VmView(u.id, u.pool.name, template, u.request, u.life, Reason(u.life, text), node, host, u.jobs)


def _pool(pool: Pool, farm: Farm, growth: Growth) -> PoolView:
    mine = [u for u in farm.units if u.pool.name == pool.name]
    ready = [u for u in mine if u.life == "ready"]
    coming = sum(u.coming for u in mine)
    idle = sum(u.idle for u in ready)
    text = f"{len(mine)} VMs: {len(ready)} ready ({idle} idle), {coming} on their way"
    return PoolView(
        pool.name,
        len(mine),
        len(ready),
        coming,
        idle,
        sum(u.shape.cores for u in ready),
        growth.pools.get(pool.name, Reason("ok", text)),
        {t.name: growth.templates[breaker.key(pool.name, t.name)] for t in pool.templates},
    )

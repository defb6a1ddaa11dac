"""When nothing may be changed.  Pure.

A source that is partial, old or from the future is not believed: neither growing nor shrinking can be right then.
Many VMs lost at once are more often a broken monitor than broken VMs: all stands still until they are back, or until
it has lasted so long that it must be true.
"""

from __future__ import annotations

from dataclasses import replace

from vafnebula.scale.clock import span
from vafnebula.scale.life import Farm
from vafnebula.scale.memory import Memory
from vafnebula.scale.model import Policy, Reason, Snapshot, Source


def blind(snapshot: Snapshot, policy: Policy) -> Reason | None:
    """Why the snapshot cannot be acted on, None when it can."""
    for name, source in (("the batch system", snapshot.batch), ("OpenNebula", snapshot.cloud)):
        why = _unusable(source, snapshot.now, policy)
        if why:
            return Reason("blind", f"nothing is changed: {name} {why}")
    return None


def _unusable(source: Source, now: float, policy: Policy) -> str:
    if not source.complete:
        return f"gave no full answer ({source.why or 'no reason known'})"
    age = now - source.at
    if age > policy.stale_after:
        return f"was last seen {span(age)} ago"
    return "was seen in the future: the clock was set back" if age < -1.0 else ""


def mass_loss(farm: Farm, policy: Policy) -> tuple[Memory, Reason | None]:
    """Whether too many VMs are out of sight at once, and the memory of since when."""
    memory = farm.memory
    most = max(policy.loss_floor, int(policy.loss_share * farm.joined))
    if farm.lost <= most:
        return (memory if memory.hold is None else replace(memory, hold=None)), None
    since = memory.clock if memory.hold is None else memory.hold
    left = policy.loss_hold - (memory.clock - since)
    memory = replace(memory, hold=since)
    if left <= 0:
        return memory, None
    what = f"{farm.lost} of {farm.joined} VMs are out of sight at once"
    return memory, Reason(
        "mass-loss", f"nothing is changed for {span(left)}: {what}, which a broken monitor looks like"
    )

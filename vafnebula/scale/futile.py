"""Jobs that do not start although they could.  Pure.

The batch system may know a reason that we do not: a reservation, a feature we cannot see, a licence.  A shape whose
jobs had free slots for `job_alive` and started nowhere is believed ever less: first the free slots of machines that are
not ours stop counting for it (so a VM is tried), then no VM is kept or started for it but one every `futile_delay`.
"""

from __future__ import annotations

from dataclasses import replace

from vafnebula.scale.clock import span
from vafnebula.scale.demand import Group
from vafnebula.scale.fit import Placed
from vafnebula.scale.memory import ShapeMemory
from vafnebula.scale.model import Policy, Reason

OWN_ONLY = 1
FUTILE = 2


def believed(memory: ShapeMemory | None, clock: float, waiting: int) -> tuple[int, bool]:
    """How many of `waiting` jobs count as demand, and whether free slots of foreign machines count for them."""
    if memory is None or memory.level < OWN_ONLY:
        return waiting, True
    if memory.level < FUTILE:
        return waiting, False
    return (1 if clock >= memory.until else 0), False


def learned(before: ShapeMemory | None, group: Group, placed: Placed, clock: float, policy: Policy) -> ShapeMemory:
    """The memory of a shape after this cycle's placement."""
    now = ShapeMemory(group.head, group.waiting, group.running)
    if before is None:
        return replace(now, since=clock if placed.now else None)
    if group.running > before.running:
        return now
    kept = replace(now, level=before.level, until=before.until)
    moved = group.head != before.head or group.waiting < before.waiting
    if not placed.now or (moved and before.level < FUTILE):
        return kept
    if before.since is None:
        return replace(kept, since=clock)
    if clock - before.since < max(p.timers.job_alive for p in policy.pools):
        return replace(kept, since=before.since)
    if before.level == 0 and placed.foreign:
        return replace(kept, level=OWN_ONLY)
    return replace(kept, level=max(FUTILE, before.level + 1), until=clock + policy.futile_delay)


def why(memory: ShapeMemory, clock: float) -> Reason:
    left = span(max(0.0, memory.until - clock))
    return Reason(
        "futile",
        "slots were free for it and it did not start: the batch system knows a reason that we do not; "
        f"next try in {left}",
    )

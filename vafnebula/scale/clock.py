"""Observed time.  Pure.

Timers must not run while we are blind, asleep or dead, and a clock that jumps must not kill a VM.  So they run on a
clock of their own: it advances by the time between two good snapshots, never backwards, and by `max_step` at most.
"""

from __future__ import annotations

from dataclasses import replace

from vafnebula.scale.memory import Memory
from vafnebula.scale.model import Policy, Snapshot


def tick(memory: Memory, snapshot: Snapshot, policy: Policy) -> Memory:
    """The memory with its clock set to `snapshot`, which is a good one."""
    step = 0.0 if memory.now is None else snapshot.now - memory.now
    return replace(memory, now=snapshot.now, clock=memory.clock + min(max(0.0, step), policy.max_step))


def span(seconds: float) -> str:
    """`seconds` for a person: `40 s`, `5 min`, `4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f}".removesuffix(".0") + " h"

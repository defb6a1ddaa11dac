"""What became of an action, told to the memory.  Pure.

An action of which nothing is known (no answer within the deadline) is not told at all: the next snapshots show it, and
a request that none shows is given up after `request_lost`.
"""

from __future__ import annotations

from dataclasses import replace

from vafnebula.scale import breaker
from vafnebula.scale.memory import Breaker, Memory
from vafnebula.scale.model import Action, Drain, RemoveNode, Start, Terminate


def refused(memory: Memory, action: Action, why: str) -> Memory:
    """After `action` surely did not happen.  A refused start counts as a failed boot."""
    if isinstance(action, Start):
        request = memory.requests.get(action.request)
        if request is None:
            return memory
        key = breaker.key(action.pool, action.template)
        state = breaker.failed(
            memory.breakers.get(key, Breaker()), request.at, memory.clock, f"was refused: {why}", late=False
        )
        return replace(forgotten(memory, action.request), breakers={**memory.breakers, key: state})
    if isinstance(action, RemoveNode):
        return memory
    m = memory.vms.get(action.vm)
    if m is None:
        return memory
    if isinstance(action, Drain):
        m = replace(m, drained=None)
    elif isinstance(action, Terminate):
        m = replace(m, stopped=None)
    return replace(memory, vms={**memory.vms, action.vm: m})


def forgotten(memory: Memory, request: str) -> Memory:
    """Without a request that was never sent: a crash came first, and OpenNebula has no VM with its label."""
    return replace(memory, requests={k: r for k, r in memory.requests.items() if k != request})

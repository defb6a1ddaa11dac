"""What the journal's lines add up to: the memory, what was begun and not ended, and the admin's last words.  Pure.

decided      memory, actions      all actions of a cycle as intents, on disk before the first of them
outcome      act, happened, why   of one action: true, false, or null when nobody knows
scaled       pool, min, max, by   an authorised caller set a pool's bounds; null for the policy's own
squeezed     vm, host, ...        a batch VM gets less, and what it had; restored: it has that again
checkpoint   all of it            after a rotation
standby, leading, reloaded, started, stopped: for the reader only
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from vafnebula import errors, log
from vafnebula.scale import memory as memories
from vafnebula.scale import outcome
from vafnebula.scale.journal import CHECKPOINT, Record
from vafnebula.scale.memory import Memory
from vafnebula.scale.model import Action, Drain, Policy, RemoveNode, Start, Terminate, Undrain

VERBS: dict[str, type[Any]] = {
    "start": Start,
    "drain": Drain,
    "undrain": Undrain,
    "terminate": Terminate,
    "remove": RemoveNode,
}
_FORMS: dict[str, TypeAdapter[Any]] = {verb: TypeAdapter(kind) for verb, kind in VERBS.items()}
ABSENCE = 3600.0
"""Seconds without a look after which VMs that are gone are simply gone."""

_WORDS = {kind: verb for verb, kind in VERBS.items()}


@dataclass(frozen=True)
class Begun:
    """An action whose outcome is not known; `at` is the wall-clock time of its intent."""

    action: Action
    at: float


@dataclass(frozen=True)
class Bounds:
    """What a caller wants of a pool instead of the policy's; None is the policy's."""

    min: int | None = None
    max: int | None = None


@dataclass(frozen=True)
class Squeezed:
    """A batch VM that has less than its own: what it had (`shares` of CPU, `memory` in KiB, 0 if untouched)."""

    vm: int
    host: str
    domain: str
    shares: int
    memory: int = 0


@dataclass(frozen=True)
class State:
    memory: Memory
    begun: Mapping[str, Begun] = field(default_factory=dict)
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    squeezed: Mapping[int, Squeezed] = field(default_factory=dict)

    def policy(self, policy: Policy) -> Policy:
        """`policy` with the callers' bounds, which never go beyond the policy's own maximum."""
        return replace(policy, pools=tuple(_bound(p, self.bounds.get(p.name)) for p in policy.pools))

    def checkpoint(self) -> dict[str, Any]:
        return {
            "memory": json.loads(self.memory.to_json()),
            "begun": [{**written(b.action), "at": b.at} for b in self.begun.values()],
            "bounds": {pool: asdict(b) for pool, b in self.bounds.items()},
            "squeezed": [asdict(s) for s in self.squeezed.values()],
        }


def written(action: Action) -> dict[str, Any]:
    """An action as a journal line has it: `verb`, `act` (its id) and its fields."""
    fields = asdict(action)
    if isinstance(action, Start):
        shape = fields["shape"]
        fields["shape"] = {**shape, "features": sorted(shape["features"]), "queues": sorted(shape["queues"])}
    return {"verb": _WORDS[type(action)], "act": action.id, **fields}


def action_of(line: Mapping[str, Any]) -> Action:
    """The action of what `written` gave.  Raises ValueError."""
    form = _FORMS[line["verb"]]
    fields = {k: v for k, v in line.items() if k not in ("verb", "act", "at")}
    made: Action = form.validate_python(fields)
    return made


def ended(state: State, act: str, happened: bool | None, why: str, counts: bool = True) -> State:
    """After the outcome of `act`; nobody knowing (None) leaves it begun.  `counts`: a refusal is the action's fault."""
    begun = state.begun.get(act)
    if begun is None or happened is None:
        return state
    rest = {k: v for k, v in state.begun.items() if k != act}
    memory = state.memory
    if not happened:
        lost = isinstance(begun.action, Start) and not counts
        request = begun.action.request if isinstance(begun.action, Start) else ""
        memory = outcome.forgotten(memory, request) if lost else outcome.refused(memory, begun.action, why)
    return replace(state, memory=memory, begun=rest)


def resumed(state: State) -> State:
    """After a restart.  An end that may not have come through is decided anew: it can be repeated, a start cannot."""
    for act, begun in state.begun.items():
        if isinstance(begun.action, Terminate):
            state = ended(state, act, False, "the scaler was restarted")
    return state


def awake(memory: Memory, now: float, there: Collection[int]) -> Memory:
    """The memory without VMs that went in hours in which nobody looked: that is no sudden loss of many."""
    if memory.now is None or now - memory.now < ABSENCE:
        return memory
    return replace(memory, vms={k: v for k, v in memory.vms.items() if k in there})


def decided(state: State, memory: Memory, actions: Iterable[Action], at: float) -> State:
    """After a decision: its actions are begun, and of earlier ones only starts still matter."""
    open_starts = {k: b for k, b in state.begun.items() if isinstance(b.action, Start)}
    return replace(state, memory=memory, begun={**open_starts, **{a.id: Begun(a, at) for a in actions}})


def scaled(state: State, pool: str, bounds: Bounds) -> State:
    rest = {name: b for name, b in state.bounds.items() if name != pool}
    return replace(state, bounds=rest if bounds == Bounds() else {**rest, pool: bounds})


def fold(records: Iterable[Record], farm: str) -> State:
    """The state after `records`; `farm` names a memory that begins now.  A line that makes no sense is passed over."""
    state = State(Memory(farm))
    for record in records:
        try:
            state = after(state, record)
        except (AttributeError, KeyError, TypeError, ValueError, errors.BadArgument) as e:
            log.trouble("journal", found="line without sense", kind=record.get("kind"), why=type(e).__name__)
    return state


def after(state: State, record: Record) -> State:
    kind = record["kind"]
    if kind == "decided":
        actions = [action_of(a) for a in record["actions"]]
        return decided(state, _memory(record["memory"]), actions, record["at"])
    if kind == "outcome":
        return ended(state, record["act"], record["happened"], record["why"], record.get("counts", True))
    if kind == "scaled":
        return scaled(state, record["pool"], Bounds(record["min"], record["max"]))
    if kind == "squeezed":
        one = _squeezed(record)
        return replace(state, squeezed={**state.squeezed, one.vm: one})
    if kind == "restored":
        return replace(state, squeezed={k: v for k, v in state.squeezed.items() if k != record["vm"]})
    if kind == CHECKPOINT:
        return State(
            _memory(record["memory"]),
            {a["act"]: Begun(action_of(a), a["at"]) for a in record["begun"]},
            {pool: Bounds(**b) for pool, b in record["bounds"].items()},
            {s["vm"]: _squeezed(s) for s in record["squeezed"]},
        )
    return state


def _memory(value: Any) -> Memory:
    return memories.from_json(json.dumps(value).encode())


def _squeezed(record: Mapping[str, Any]) -> Squeezed:
    return Squeezed(record["vm"], record["host"], record["domain"], record["shares"], record["memory"])


def _bound(pool: Any, bounds: Bounds | None) -> Any:
    if bounds is None:
        return pool
    most = pool.quota.vms
    if bounds.max is not None:
        most = bounds.max if most is None else min(most, bounds.max)
    least = pool.min_vms if bounds.min is None else bounds.min
    least = least if most is None else min(least, most)
    return replace(pool, min_vms=least, quota=replace(pool.quota, vms=most))

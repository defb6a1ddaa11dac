"""The cycle: observe -> decide -> journal -> act -> journal.  decide is pure; all that it needs and causes is here.

Killed anywhere and started again, it ends with the VMs that it would have had: intents are on disk before the first
act, an act whose outcome is not known is looked for by its label, and nothing that may have been done is repeated.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vafnebula import errors, log
from vafnebula.scale import lastlook
from vafnebula.scale import state as states
from vafnebula.scale.batch import Batch
from vafnebula.scale.calm import undisturbed
from vafnebula.scale.cloud import Cloud, Seen, happened
from vafnebula.scale.decide import decide
from vafnebula.scale.journal import Journal
from vafnebula.scale.model import (
    Action,
    Drain,
    Policy,
    Reasons,
    RemoveNode,
    Snapshot,
    Source,
    Start,
    Terminate,
    Undrain,
)
from vafnebula.scale.state import Bounds, State

PACE = 20.0
"""Seconds between two lines that only hold the memory: what a crash may take from the timers."""
QUIET_WRITE = 600.0
"""Seconds after which the memory is written even though only its clock has moved."""


@dataclass(frozen=True)
class Report:
    """What a cycle saw, decided and did; for the page, the metrics and the command line."""

    snapshot: Snapshot
    reasons: Reasons = field(default_factory=Reasons)
    actions: tuple[Action, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    leads: bool = True
    standby: str = ""
    seen: Seen | None = None
    seconds: float = 0.0
    by: tuple[str, ...] = ()


class NotLeading(errors.HostError):
    sentence = "this scaler does not act now: {why}; ask the one that does"


class Scaler:
    """One site's scaler.  `settle`: seconds after which a call that nobody answered is surely over in OpenNebula."""

    def __init__(
        self,
        policy: Policy,
        batch: Batch,
        cloud: Cloud,
        journal: Journal,
        *,
        settle: float = 30.0,
        dry_run: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy, self.batch, self.cloud, self.journal = policy, batch, cloud, journal
        self.settle, self.dry_run, self.clock = settle, dry_run, clock
        self.state = states.resumed(states.fold(journal.replay(), uuid.uuid4().hex[:8]))
        self.report: Report | None = None
        self.counts: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._written = (0.0, "")
        self._led: bool | None = None

    def cycle(self, by: Sequence[str] = ()) -> Report:
        """Look, decide, do.  Raises NotWritten when the journal cannot be written: then nothing was done."""
        with undisturbed():
            return self._cycle(by)

    def _cycle(self, by: Sequence[str]) -> Report:
        began = time.monotonic()
        seen = self.cloud.look()
        snapshot = self._observe(seen)
        leads, standby = self._leads(seen)
        if leads and not self.dry_run:
            self._settle(snapshot)
        if snapshot.cloud.complete:
            there = {vm.id for vm in snapshot.vms}
            self._change(lambda s: replace(s, memory=states.awake(s.memory, snapshot.now, there)))
        decision = decide(snapshot, self.state.memory, self.state.policy(self.policy))
        failures: dict[str, str] = {}
        if not leads or self.dry_run:
            self._change(lambda s: _imagined(s, decision.memory, decision.actions, snapshot.now))
        else:
            self._intend(decision.memory, decision.actions)
            failures = self._act(decision.actions, snapshot.now)
            if self.journal.full:
                with self._lock:
                    self.journal.rotate({"memory"}, **self.state.checkpoint())
        self.report = Report(
            snapshot,
            decision.reasons,
            decision.actions if leads else (),
            failures,
            leads,
            standby,
            seen,
            time.monotonic() - began,
            tuple(by),
        )
        return self.report

    def scale(self, pool: str, bounds: Bounds, by: str) -> Bounds:
        """Set a pool's bounds from now on, on behalf of caller `by`.  Any thread may call it.

        Raises BadArgument, NotLeading, NotWritten.
        """
        if self.report is not None and not self.report.leads:
            raise NotLeading(why=self.report.standby)
        wanted = self.policy.pool(pool)
        if wanted is None:
            known = ", ".join(p.name for p in self.policy.pools)
            raise errors.BadArgument(what="pool", value=pool, why=f"known are {known}")
        most, least = bounds.max, bounds.min
        for what, number in (("min", least), ("max", most)):
            if number is not None and not 0 <= number <= (wanted.quota.vms or number):
                raise errors.BadArgument(what=what, value=number, why=f"must be 0 to {wanted.quota.vms} (the policy)")
        if least is not None and most is not None and least > most:
            raise errors.BadArgument(what="min", value=least, why=f"is above max {most}")
        with self._lock:
            self.journal.write("scaled", pool=pool, min=least, max=most, by=by)
            self.state = states.scaled(self.state, pool, bounds)
        log.event("scaled", pool=pool, min=least, max=most, by=by)
        return bounds

    def note(self, kind: str, **facts: Any) -> None:
        """A journal line that changes `state` as a replay of it would."""
        with self._lock:
            self.journal.write(kind, **facts)
            self.state = states.after(self.state, {"kind": kind, **facts})

    def _change(self, change: Callable[[State], State]) -> None:
        """Change the state, which other threads change too (bounds, squeezed)."""
        with self._lock:
            self.state = change(self.state)

    def _observe(self, seen: Seen) -> Snapshot:
        at = self.clock()
        view = self.batch.observe()
        batch = Source(at, view.complete, view.why)
        return Snapshot(self.clock(), batch, seen.source, view.jobs, view.nodes, seen.vms)

    def _leads(self, seen: Seen) -> tuple[bool, str]:
        """Whether this front-end acts; when it cannot be known, it does not."""
        if not seen.source.complete:
            return False, "OpenNebula does not answer, so nobody knows who leads"
        try:
            leads, why = self.cloud.leads(), "another front-end of this zone leads"
        except errors.Error as e:
            leads, why = False, str(e)
        if leads != self._led:
            self._led = leads
            log.event("leading" if leads else "standby", why="" if leads else why)
            if not self.dry_run:
                self.note("leading" if leads else "standby", why="" if leads else why)
        return leads, "" if leads else why

    def _settle(self, snapshot: Snapshot) -> None:
        """Find out what became of starts of which nobody knows: there by its label, or surely not there."""
        if not snapshot.cloud.complete:
            return
        there = {vm.request: vm.id for vm in snapshot.vms if vm.request}
        for act, begun in list(self.state.begun.items()):
            if not isinstance(begun.action, Start):
                continue
            vm = there.get(begun.action.request)
            if vm is not None:
                self._outcome(act, True, f"VM {vm} has its label", vm=vm)
            elif snapshot.cloud.at >= begun.at + self.settle:
                self._outcome(act, False, "OpenNebula has no VM with its label", counts=False)

    def _intend(self, memory: Any, actions: Sequence[Action]) -> None:
        """Put a decision on disk, unless there is nothing new in it."""
        at = self.clock()
        timeless = replace(memory, now=None, clock=0.0).to_json().decode()
        since = at - self._written[0] if at >= self._written[0] else QUIET_WRITE
        if actions or since >= (QUIET_WRITE if timeless == self._written[1] else PACE):
            body = json.loads(memory.to_json())
            with self._lock:
                self.journal.write("decided", memory=body, actions=[states.written(a) for a in actions])
            self._written = (at, timeless)
        self._change(lambda s: states.decided(s, memory, actions, at))

    def _act(self, actions: Sequence[Action], seen: float) -> dict[str, str]:
        """Do `actions` in their order; why those failed that did.

        A source that does not answer is not asked again, and what was `seen` too long ago is acted on no more.
        """
        failures: dict[str, str] = {}
        away: dict[str, str] = {}
        for action in actions:
            side = "cloud" if isinstance(action, (Start, Terminate)) else "batch"
            if not seen <= self.clock() <= seen + self.policy.stale_after:
                away.setdefault(side, "what was seen is too old by now")
            if side in away:
                self._outcome(action.id, False, f"not tried: {away[side]}", counts=False)
                failures[action.id] = f"not tried: {away[side]}"
                continue
            came = self._came(action)
            if came:
                self._outcome(action.id, False, came, counts=False)
                failures[action.id] = came
                continue
            try:
                self._do(action)
            except errors.Error as e:
                known = happened(e) if side == "cloud" else _command_happened(e)
                refused = isinstance(e, errors.RequestError)
                failures[action.id] = str(e)
                self._outcome(action.id, known, str(e), counts=refused)
                if not refused and (side == "cloud" or known is None):
                    away[side] = str(e)
        return failures

    def _do(self, action: Action) -> None:
        log.event(action.id.replace(":", " "), why=action.why)
        if isinstance(action, Start):
            vm = self.cloud.start(action)
            self._outcome(action.id, True, f"VM {vm}", vm=vm)
            return
        if isinstance(action, Drain):
            self.batch.drain(action.node, action.mark)
        elif isinstance(action, Undrain):
            self.batch.undrain(action.node)
        elif isinstance(action, RemoveNode):
            self.batch.remove(action.node)
        else:
            done = self.cloud.terminate(action)
            self._outcome(action.id, True, done, vm=action.vm)
            if action.node:
                self._forget(action.node)
            return
        self._outcome(action.id, True, "")

    def _came(self, action: Action) -> str:
        """Why a VM that could not be drained must not be ended after all: it joined since the snapshot."""
        if isinstance(action, Terminate) and action.hard:
            return lastlook.came(self.batch.observe(), action)
        return ""

    def _forget(self, node: str) -> None:
        """Remove the node of a VM that was ended.  A failure is no harm: decide removes nodes without a VM later."""
        try:
            self.batch.remove(node)
        except errors.Error as e:
            log.trouble("remove", node=node, why=e)

    def _outcome(self, act: str, done: bool | None, why: str, counts: bool = True, **facts: Any) -> None:
        verb = act.partition(":")[0]
        key = (verb, {True: "done", False: "failed", None: "unknown"}[done])
        self.counts[key] = self.counts.get(key, 0) + 1
        if done is not True:
            log.trouble(act.replace(":", " "), outcome=key[1], why=why)
        self.note("outcome", act=act, happened=done, why=why, counts=counts, **facts)


def _imagined(state: State, memory: Any, actions: Sequence[Action], at: float) -> State:
    """The state when only looking (dry run, standby): as if nothing of it could be sent."""
    state = states.decided(state, memory, actions, at)
    for action in actions:
        state = states.ended(state, action.id, False, "dry run", counts=False)
    return state


def _command_happened(error: errors.Error) -> bool | None:
    """A command of the batch system that ended with an error did nothing; one that was cut short may have."""
    return None if isinstance(error, errors.CommandFailed) and error.facts.get("code") in (124, 255) else False

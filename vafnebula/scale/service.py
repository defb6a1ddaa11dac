"""The daemon: wires policy file, batch system, OpenNebula, journal, bell and pages together and turns the wheel.

SIGHUP reads the policy file again (a bad one changes nothing), SIGTERM ends after the cycle.  A cycle whose journal
cannot be written does nothing and is tried again.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from vafnebula import errors, log
from vafnebula.one import api
from vafnebula.one.vms import Client
from vafnebula.scale import batch as systems
from vafnebula.scale import decide, journal, policy, tail
from vafnebula.scale import state as states
from vafnebula.scale.cloud import Cloud
from vafnebula.scale.decide import Decision
from vafnebula.scale.events import Bell, Timing
from vafnebula.scale.history import History
from vafnebula.scale.journal import Journal, NotWritten
from vafnebula.scale.loop import Report, Scaler
from vafnebula.scale.model import Policy, Snapshot, Source
from vafnebula.scale.notify import notify
from vafnebula.scale.squeeze import Hands, Row, Squeeze
from vafnebula.scale.web import Pages

SOON = 5.0
"""Seconds after which the effect of what was done is looked at, when nothing rings before."""
RETRY = 10.0
"""Seconds between two attempts to look up template names while OpenNebula is away."""


def cloud_of(file: policy.File) -> Cloud:
    client = Client(file.service.api_timeout)
    return Cloud(client, list(file.pools), file.service.node_name, everyone=file.squeeze is not None)


def policy_of(file: policy.File, cloud: Cloud) -> Policy:
    """The policy with the ids of all templates.  Raises Refused, Unsent, Unanswered or Away."""
    wanted = file.references()
    return file.policy(cloud.resolve(wanted, lambda: api.connect().services()) if wanted else {})


def look(path: Path) -> tuple[Snapshot, Decision, Policy]:
    """What would be done now, with nothing changed and no lock taken: for plan and explain."""
    file = policy.load(path)
    cloud = cloud_of(file)
    state = states.fold(journal.read(Path(file.service.state) / journal.CURRENT), "plan")
    wanted = state.policy(policy_of(file, cloud))
    seen = cloud.look()
    at = time.time()
    view = systems.make(file.batch.system, file.batch.options).observe()
    source = Source(at, view.complete, view.why)
    snapshot = Snapshot(time.time(), source, seen.source, view.jobs, view.nodes, seen.vms)
    return snapshot, decide.decide(snapshot, state.memory, wanted), wanted


def scaler_of(file: policy.File, dry_run: bool) -> Scaler:
    """A scaler that holds the journal.  Raises what its parts raise."""
    cloud = cloud_of(file)
    wanted = policy_of(file, cloud)
    book = Journal(Path(file.service.state))
    batch = systems.make(file.batch.system, file.batch.options)
    return Scaler(wanted, batch, cloud, book, settle=file.service.api_timeout, dry_run=dry_run)


def squeeze_of(file: policy.File, scaler: Scaler) -> Hands:
    assert file.squeeze is not None
    client = Client(file.service.api_timeout)
    return Hands(Squeeze(scaler, file.squeeze, lambda: client.user, client.cgroups))


def _tail(watch: policy.Watch) -> tail.Tail:
    made = tail.watch(watch.kind, watch.path)
    if made.follows is None:
        log.trouble("watch", path=watch.path, why="it is not there or not readable; trying again")
    return made


def once(path: Path, dry_run: bool) -> Report:
    """One cycle."""
    scaler = scaler_of(policy.load(path), dry_run)
    try:
        return scaler.cycle(["once"])
    finally:
        scaler.journal.close()


class Service:
    """What `vafnebula scale run` is.  `run()` returns when it was told to stop."""

    def __init__(self, path: Path, dry_run: bool = False) -> None:
        self._path, self._reload = path, False
        file = policy.load(path)
        book = Journal(Path(file.service.state))
        service = file.service
        timing = Timing(quiet=service.quiet, patience=service.patience, period=service.period)
        self._bell = Bell(Path(service.socket), timing, [_tail(w) for w in service.watch])
        self._handlers = self._signals()
        cloud = cloud_of(file)
        wanted = self._patiently(file, cloud)
        batch = systems.make(file.batch.system, file.batch.options)
        self.scaler = Scaler(wanted, batch, cloud, book, settle=service.api_timeout, dry_run=dry_run)
        self.history = History()
        self._squeeze = squeeze_of(file, self.scaler) if file.squeeze and not dry_run else None
        self._pages = Pages(self.scaler, self.history, service, self._bell.wake, self._rows)

    def run(self) -> None:
        self._pages.start()
        if self._squeeze:
            self._squeeze.start()
        looked = -1e9
        self.scaler.note("started", dry_run=self.scaler.dry_run)
        notify("READY=1")
        while True:
            acted = self.scaler.report is not None and self.scaler.report.actions
            rang = self._bell.wait(looked, looked + SOON if acted else None)
            if "stop" in rang:
                break
            if self._reload:
                self._read_again()
            looked = time.monotonic()
            notify("WATCHDOG=1", f"STATUS={self._turn(rang)}")
        notify("STOPPING=1")
        self.scaler.note("stopped")
        self.close()

    def close(self) -> None:
        self._pages.stop()
        if self._squeeze:
            self._squeeze.stop()
        self._bell.close()
        self.scaler.journal.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _turn(self, rang: list[str]) -> str:
        """One cycle; a line about it."""
        try:
            report = self.scaler.cycle(rang)
        except NotWritten as e:
            log.trouble("cycle", why=e)
            return str(e)
        self.history.add(report)
        if self._squeeze and report.leads and report.seen:
            self._squeeze.hand(report.seen.all)
        if not report.leads:
            return f"standby: {report.standby}"
        hold = report.reasons.hold
        return hold.text if hold else f"{len(report.snapshot.vms)} VMs, {len(report.actions)} actions"

    def _rows(self) -> tuple[Row, ...]:
        return self._squeeze.squeeze.rows if self._squeeze else ()

    def _read_again(self) -> None:
        self._reload = False
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            file = policy.load(self._path)
            cloud = cloud_of(file)
            wanted = policy_of(file, cloud)
            batch = systems.make(file.batch.system, file.batch.options)
        except errors.Error as e:
            log.trouble("reload", why=e, now="the old policy stays")
            self.scaler.note("reloaded", happened=False, why=str(e))
        else:
            self.scaler.policy, self.scaler.cloud, self.scaler.batch = wanted, cloud, batch
            if self._squeeze and file.squeeze:
                self._squeeze.squeeze.section = file.squeeze
            self.scaler.note("reloaded", happened=True, why="")
        notify("READY=1")

    def _patiently(self, file: policy.File, cloud: Cloud) -> Policy:
        """The policy, as soon as OpenNebula can say which ids its template names have."""
        while True:
            try:
                return policy_of(file, cloud)
            except errors.SiteError as e:
                log.trouble("start", why=e, now="trying again")
                notify("READY=1", "WATCHDOG=1", f"STATUS=waiting: {e}")
            now = time.monotonic()
            if "stop" in self._bell.wait(now, until=now + RETRY):
                raise SystemExit(0)

    def _signals(self) -> Mapping[int, Callable[[int, FrameType | None], object] | int | None]:
        def stop(number: int, frame: FrameType | None) -> None:
            self._bell.wake(b".")

        def again(number: int, frame: FrameType | None) -> None:
            self._reload = True
            self._bell.wake()

        return {
            signal.SIGTERM: signal.signal(signal.SIGTERM, stop),
            signal.SIGINT: signal.signal(signal.SIGINT, stop),
            signal.SIGHUP: signal.signal(signal.SIGHUP, again),
        }

"""Interactive VMs first: while one runs on a node, batch VMs beside it get less CPU, and their own when it leaves.

renice does nothing under libvirt's control groups, so a batch VM's cpu_shares are lowered live (and its memory
ballooned, if wanted).  What it had is in the journal before it is taken; so it comes back after a crash too.  Only VMs
of pools that consented give, and only VMs of groups that the admin named take: the label alone is anybody's.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vafnebula import errors, log
from vafnebula.one.vms import Listed
from vafnebula.scale import virsh
from vafnebula.scale.cloud import ACTIVE, RUNNING
from vafnebula.scale.loop import Scaler
from vafnebula.scale.model import POOL_LABEL
from vafnebula.scale.policy import SqueezeSection
from vafnebula.scale.state import Squeezed
from vafnebula.scale.virsh import Usage

INTERACTIVE_LABEL = "VAF_INTERACTIVE"
MINUTE = 60.0
REST = 300.0
"""Seconds for which a node that could not be reached is left alone."""


@dataclass(frozen=True)
class Guest:
    """A running VM: its node and domain."""

    vm: int
    host: str
    domain: str
    cpu: float


@dataclass(frozen=True)
class Row:
    """A line of the monitor's table."""

    host: str
    vm: int
    name: str
    role: str
    usage: Usage


def shares(cpu: float, cgroups: int) -> int:
    """What OpenNebula writes into a VM's deployment file for TEMPLATE/CPU, by the node's control groups version."""
    if cgroups == 2:
        return min(max(math.ceil(cpu * 100), 1), 10_000)
    return min(max(math.ceil(cpu * 1024), 2), 262_144)


def reduced(own: int, share: float, cgroups: int) -> int:
    """`share` of `own` CPU shares: never more, and never below what the kernel takes."""
    return min(own, max(math.ceil(own * share), 1 if cgroups == 2 else 2))


def givers(vms: Iterable[Listed], section: SqueezeSection, user: str) -> list[Guest]:
    """The batch VMs that have an interactive VM beside them."""
    running = [vm for vm in vms if vm.state == ACTIVE and vm.lcm == RUNNING and vm.host]
    taken = {vm.host for vm in running if is_interactive(vm, section)}
    return [
        Guest(vm.id, vm.host, f"one-{vm.id}", vm.cpu)
        for vm in running
        if vm.host in taken and consents(vm, section, user) and not is_interactive(vm, section)
    ]


def is_interactive(vm: Listed, section: SqueezeSection) -> bool:
    return vm.group in section.groups and vm.labels.get(INTERACTIVE_LABEL, "").upper() == "YES"


def consents(vm: Listed, section: SqueezeSection, user: str) -> bool:
    return vm.owner == user and vm.labels.get(POOL_LABEL) in section.pools


class Squeeze:
    """Keeps batch VMs small beside interactive ones.  Its memory is the scaler's journal."""

    def __init__(
        self,
        scaler: Scaler,
        section: SqueezeSection,
        user: Callable[[], str],
        cgroups: Callable[[], dict[str, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scaler, self.section, self._user, self._cgroups, self._clock = scaler, section, user, cgroups, clock
        self._applied: set[int] = set()
        self._looked = -math.inf
        self._resting: dict[str, float] = {}
        self.rows: tuple[Row, ...] = ()

    def step(self, vms: Sequence[Listed]) -> None:
        """Take and give back what these VMs call for.  Failures are logged, and tried again later."""
        try:
            wanted = {g.vm: g for g in givers(vms, self.section, self._user())}
            versions = self._cgroups() if wanted.keys() - self._applied else {}
        except errors.Error as e:
            log.trouble("squeeze", why=e)
            return
        running = {vm.id: vm for vm in vms}
        for guest in wanted.values():
            if guest.vm not in self._applied and self._tried(
                guest.host, self._take, guest, versions.get(guest.host, 0)
            ):
                self._applied.add(guest.vm)
        for held in list(self._scaler.state.squeezed.values()):
            if held.vm not in wanted:
                self._tried(held.host, self._give_back, held, running.get(held.vm))

    def look(self, vms: Sequence[Listed]) -> None:
        """Refresh the monitor's rows, once a minute: one ssh per node that has VMs of ours.

        A batch VM that has less than its own, with nobody interactive beside it, and of which this journal knows
        nothing, was squeezed by a scaler that is gone (another front-end's): it gets its own back.
        """
        if self._clock() - self._looked < MINUTE:
            return
        self._looked = self._clock()
        user = self._user()
        wanted = {guest.vm for guest in givers(vms, self.section, user)}
        ours = {vm.host for vm in vms if vm.host and consents(vm, self.section, user)}
        rows: list[Row] = []
        for host in sorted(ours):
            here = {f"one-{vm.id}": vm for vm in vms if vm.host == host}

            def add(host: str = host, here: dict[str, Listed] = here) -> None:
                for usage in virsh.usage(host, here):
                    if usage.domain in here:
                        vm = here[usage.domain]
                        rows.append(Row(host, vm.id, vm.name, self._role(vm, user), usage))

            self._tried(host, add)
        for row in rows:
            if row.role == "batch" and row.vm not in wanted and row.vm not in self._scaler.state.squeezed:
                self._tried(row.host, self._heal, row, next(vm for vm in vms if vm.id == row.vm))
        self.rows = tuple(sorted(rows, key=lambda r: (r.host, r.vm)))

    def _heal(self, row: Row, vm: Listed) -> None:
        for cgroups in (1, 2):
            own = shares(vm.cpu, cgroups)
            if row.usage.shares == reduced(own, self.section.cpu, cgroups) < own:
                memory = vm.memory // 1024 if self.section.memory < 1 else 0
                virsh.tune(row.host, row.usage.domain, own, memory)
                log.event("unsqueeze", vm=vm.id, host=row.host, shares=own, why="nobody remembers who took it")
                return

    def _role(self, vm: Listed, user: str) -> str:
        if is_interactive(vm, self.section):
            return "interactive"
        return "batch" if consents(vm, self.section, user) else ""

    def _take(self, guest: Guest, cgroups: int) -> None:
        held = self._scaler.state.squeezed.get(guest.vm)
        if held is None:
            now = virsh.tuned(guest.host, guest.domain)
            usual = shares(guest.cpu, cgroups)
            lost = now.shares < usual and now.shares == reduced(usual, self.section.cpu, cgroups)
            own = usual if lost else now.shares  # reduced by us, and the journal that knew of it is gone
            memory = now.memory if self.section.memory < 1 else 0
            held = Squeezed(guest.vm, guest.host, guest.domain, own, memory)
            self._note(held)
        elif held.host != guest.host:  # live-migrated with what it had
            held = Squeezed(held.vm, guest.host, held.domain, held.shares, held.memory)
            self._note(held)
        less = reduced(held.shares, self.section.cpu, cgroups)
        virsh.tune(guest.host, guest.domain, less, math.ceil(held.memory * self.section.memory))
        log.event("squeeze", vm=guest.vm, host=guest.host, shares=less, had=held.shares)

    def _give_back(self, held: Squeezed, vm: Listed | None) -> None:
        if vm is not None and vm.state == ACTIVE and vm.lcm != RUNNING:
            return  # in the middle of something: when it runs again
        if vm is not None and vm.state == ACTIVE:
            virsh.tune(vm.host, held.domain, held.shares, held.memory)
        self._scaler.note("restored", vm=held.vm, host=held.host, shares=held.shares)
        self._applied.discard(held.vm)
        log.event("unsqueeze", vm=held.vm, host=held.host, shares=held.shares, there=vm is not None)

    def _note(self, held: Squeezed) -> None:
        self._scaler.note(
            "squeezed", vm=held.vm, host=held.host, domain=held.domain, shares=held.shares, memory=held.memory
        )

    def _tried(self, host: str, act: Callable[..., None], *arguments: object) -> bool:
        if self._resting.get(host, -math.inf) > self._clock():
            return False
        try:
            act(*arguments)
        except errors.Error as e:
            log.trouble("squeeze", host=host, why=e)
            if isinstance(e, errors.Unreachable):
                self._resting[host] = self._clock() + REST
            return False
        return True


class Hands(threading.Thread):
    """Squeezes in a thread of its own: a node that does not answer must not hold up the queue."""

    def __init__(self, squeeze: Squeeze) -> None:
        super().__init__(name="squeeze", daemon=True)
        self.squeeze = squeeze
        self._seen: queue.Queue[Sequence[Listed] | None] = queue.Queue()

    def hand(self, vms: Sequence[Listed]) -> None:
        """These are the VMs now; what was handed before and not begun is old."""
        self._seen.put(vms)

    def run(self) -> None:
        while True:
            vms = self._seen.get()
            while not self._seen.empty() and vms is not None:
                vms = self._seen.get()
            if vms is None:
                return
            try:
                self.squeeze.step(vms)
                self.squeeze.look(vms)
            except errors.Error as e:  # the journal cannot be written, OpenNebula's credentials are gone
                log.trouble("squeeze", why=e)

    def stop(self) -> None:
        self._seen.put(None)
        self.join(30)

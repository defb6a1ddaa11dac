"""The policy to beat: thresholds, as scalers of 2012 had them.  Written from a description of what they did; for
comparison.

Waiting jobs are counted every `queue_period`, minus what VMs launched in the last `deploy_time` are worth.  Once they
have been `threshold` or more for longer than `patience`, VMs are launched, `jobs_per_vm` jobs each, and the patience
starts anew.  Idle VMs are terminated every `vms_period`, without draining.  After `deploy_time` a VM that has not
joined is terminated.  VMs in error are replaced at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vafnebula.scale.model import Policy, Start, Terminate
from vafnebula.scale.simulate import NEVER
from vafnebula.scale.world import Machine, Refused, Unanswered, World


@dataclass
class Threshold:
    """One template, one number of jobs per VM.  The defaults are those of the code that is described."""

    policy: Policy
    queue_period: float = 15.0
    vms_period: float = 45.0
    errors_period: float = 20.0
    loop: float = 5.0
    threshold: int = 1
    patience: float = 40.0
    jobs_per_vm: int = 4
    idle_time: float = 3600.0
    deploy_time: float = 600.0
    wake: float = 0.0
    above: float | None = None
    queue_due: float = 0.0
    vms_due: float = 0.0
    errors_due: float = 0.0
    launched: list[float] = field(default_factory=list)
    checks: list[tuple[float, int]] = field(default_factory=list)
    unchanged: dict[int, tuple[int, float]] = field(default_factory=dict)
    serial: int = 0

    def poke(self, now: float) -> None:
        """It does not listen."""

    def run(self, world: World) -> None:
        now = world.now
        self.wake = now + self.loop
        self.launched = [t for t in self.launched if t + self.deploy_time > now]
        if now >= self.errors_due:
            self.errors_due = now + self.errors_period
            self._errors(world)
        if now >= self.vms_due:
            self.vms_due = now + self.vms_period
            self._idle(world)
        if now >= self.queue_due:
            self.queue_due = now + self.queue_period
            self._queue(world)
        for due, vm in [c for c in self.checks if c[0] <= now]:
            self.checks.remove((due, vm))
            machine = world.machines[vm]
            if machine.gone is None and machine.joined is None:
                self._terminate(world, machine)

    def _queue(self, world: World) -> None:
        waiting = sum(not w.held for w in world.queue.values()) - len(self.launched) * self.jobs_per_vm
        if waiting < self.threshold:
            self.above = None
            return
        if self.above is None:
            self.above = world.now
        elif world.now - self.above > self.patience:
            self._launch(world, -(-waiting // self.jobs_per_vm))
            self.above = None

    def _launch(self, world: World, wanted: int) -> None:
        pool = self.policy.pools[0]
        running = sum(m.gone is None for m in world.machines.values())
        most = pool.quota.vms
        # VMs on their way are also running: they count twice
        free = NEVER if most is None else most - running - len(self.launched)
        for _ in range(int(max(0, min(wanted, free)))):
            self.serial += 1
            template = pool.templates[0]
            request = f"threshold-{self.serial}"
            try:
                world.do(Start(pool.name, template.name, template.id, request, template.shape, "threshold"))
            except (Refused, Unanswered):
                continue
            vm = next(m.id for m in reversed(world.machines.values()) if m.request == request)
            self.launched.append(world.now)
            self.checks.append((world.now + self.deploy_time, vm))

    def _idle(self, world: World) -> None:
        alive = sum(m.gone is None for m in world.machines.values())
        for host in list(world.hosts.values()):
            if host.vm < 0 or not host.up:
                continue
            jobs, since = self.unchanged.get(host.vm, (-1, world.now))
            if jobs != len(host.jobs):
                jobs, since = len(host.jobs), world.now
            self.unchanged[host.vm] = (jobs, since)
            if not jobs and world.now - since > self.idle_time and alive > self.policy.pools[0].min_vms:
                self._terminate(world, world.machines[host.vm])
                alive -= 1

    def _errors(self, world: World) -> None:
        failed = [m for m in world.machines.values() if m.gone is None and m.state == "failed"]
        for machine in failed:
            self._terminate(world, machine)
            self._launch(world, 1)

    def _terminate(self, world: World, machine: Machine) -> None:
        try:
            world.do(Terminate(machine.id, machine.node, machine.pool, machine.request, False, "threshold"))
        except (Refused, Unanswered):
            return

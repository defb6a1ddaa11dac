"""The same life through every adapter: a simulated site that only speaks the batch system's own format."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes.batch import DIALECTS, Speaker
from tests.unit.scale.worlds import SMALL
from vafnebula import errors
from vafnebula.scale import batch, simulate
from vafnebula.scale.batch import BatchView
from vafnebula.scale.model import (
    Action,
    Drain,
    Job,
    Node,
    Policy,
    Pool,
    Quota,
    RemoveNode,
    Shape,
    Snapshot,
    Timers,
    Undrain,
)
from vafnebula.scale.simulate import Scaler
from vafnebula.scale.world import Faults, Refused, Work, World
from vafnebula.units import GIB

SYSTEMS = sorted(DIALECTS)
TIMERS = Timers(keep_alive=120.0, job_alive=300.0)
POLICY = Policy((Pool("w", (SMALL,), quota=Quota(10), timers=TIMERS),))
ONE = Shape(1, GIB)
HOUR = 3600.0


class Spoken(World):
    """A world whose batch system is met through its commands alone."""

    def __init__(self, system: str, policy: Policy = POLICY, faults: Faults | None = None) -> None:
        super().__init__(policy, faults, seed=5)
        self.batch = batch.make(system, {}, Speaker(system, self.Site(self)))

    class Site:
        def __init__(self, world: World) -> None:
            self.world = world

        def jobs(self) -> list[Job]:
            return [self.world._job(w) for w in (*self.world.queue.values(), *self.world.running.values())]

        def nodes(self) -> list[Node]:
            return [self.world._node(h) for h in self.world.hosts.values()]

        def drain(self, node: str, note: str) -> bool:
            host = self.world.hosts.get(node)
            if host is not None:
                host.draining, host.note = True, note
            return host is not None

        def undrain(self, node: str) -> bool:
            host = self.world.hosts.get(node)
            if host is None or not host.draining:
                return False
            host.draining, host.note = False, ""
            self.world.schedule()
            return True

        def remove(self, node: str) -> bool:
            return self.world.hosts.pop(node, None) is not None

    def view(self) -> BatchView:
        return self.batch.observe()

    def look(self) -> Snapshot:
        view = self.view()
        assert view.complete, view.why
        return replace(super().look(), jobs=view.jobs, nodes=view.nodes)

    def do(self, action: Action) -> None:
        try:
            if isinstance(action, Drain):
                self.batch.drain(action.node, action.mark)
            elif isinstance(action, Undrain):
                self.batch.undrain(action.node)
            elif isinstance(action, RemoveNode):
                self.batch.remove(action.node)
            else:
                super().do(action)
        except errors.Error as e:
            raise Refused(str(e)) from e


def alive(world: World) -> int:
    return sum(m.gone is None for m in world.machines.values())


@pytest.mark.parametrize("system", SYSTEMS)
def test_jobs_in_vms_up_jobs_done_vms_gone(system: str) -> None:
    world = Spoken(system)
    world.submit_all(Work(f"{i}", ONE, 10.0, 200.0) for i in range(1, 41))
    result = simulate.run(world, Scaler(POLICY, delay=0.3), HOUR)
    assert (result.launches, result.unstarted, result.killed, alive(world)) == (10, 0, 0, 0)
    assert result.wait(1.0) < 60.0
    assert world.view().nodes == ()


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_cannot_be_helped_starts_nothing(system: str) -> None:
    world = Spoken(system)
    world.submit_all(
        [
            Work("1", Shape(64, GIB), 10.0, 60.0),
            Work("2", Shape(1, 999 * GIB), 10.0, 60.0),
            Work("3", Shape(1, GIB, 0, frozenset({"quantum"})), 10.0, 60.0),
            Work("4", ONE, 10.0, 60.0, held=True),
        ]
    )
    scaler = Scaler(POLICY)
    assert simulate.run(world, scaler, HOUR).launches == 0
    assert scaler.seen is not None
    assert scaler.last is not None
    assert sorted(scaler.last.reasons.of_job(j).what for j in scaler.seen.jobs) == ["fits-nothing"] * 3 + ["held"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_physical_machines_come_first_and_are_left_alone(system: str) -> None:
    world = Spoken(system)
    world.physical("node01", Shape(8, 16 * GIB))
    world.submit_all(Work(f"{i}", ONE, 10.0, 300.0) for i in range(1, 13))
    result = simulate.run(world, Scaler(POLICY), HOUR)
    assert (result.launches, result.unstarted) == (1, 0)
    assert [n.name.split(".")[0] for n in world.view().nodes] == ["node01"]
    assert not world.hosts["node01"].draining


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_vm_that_dies_under_its_job_is_replaced(system: str) -> None:
    world = Spoken(system)
    world.submit_all(Work(f"{i}", ONE, 10.0, 900.0) for i in range(1, 5))
    world.at(400.0, lambda: world.die(world.machines[0]))
    result = simulate.run(world, Scaler(POLICY, delay=0.3), 2 * HOUR)
    assert (result.launches, result.unstarted, result.killed, alive(world)) == (2, 0, 0, 0)
    assert all(w.ended for w in world.works.values())


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_job_that_slips_in_is_not_killed(system: str) -> None:
    """It starts between the snapshot and the drain: HTCondor refuses the drain, the others are undrained."""
    world = Spoken(system)
    world.submit(Work("1", ONE, 10.0, 60.0))
    real = world.batch.drain

    def late(node: str, reason: str) -> None:
        if "2" not in world.works:
            world.submit(Work("2", ONE, world.now, 500.0))
            world.advance(world.now)
        real(node, reason)

    world.batch.drain = late  # type: ignore[method-assign]
    result = simulate.run(world, Scaler(POLICY), HOUR)
    assert (result.launches, result.killed, alive(world)) == (1, 0, 0)
    assert world.works["2"].ended is not None


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s != "htcondor"])
def test_jobs_on_several_nodes(system: str) -> None:
    world = Spoken(system)
    world.submit_all(Work(f"{i}", Shape(2, GIB), 10.0, 300.0, nodes=3) for i in range(1, 5))
    result = simulate.run(world, Scaler(POLICY), HOUR)
    assert (result.unstarted, result.killed, alive(world)) == (0, 0, 0)
    assert result.launches == 6


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_rough_day_kills_nothing(system: str) -> None:
    faults = Faults(boot=(20.0, 90.0), never=0.05, life=20000.0, lag=10.0, refuse=0.05, unanswered=0.05)
    world = Spoken(system, faults=faults)
    for hour in range(6):
        world.submit_all(Work(f"{hour}{i:02}", ONE, hour * HOUR + 7.0 * i, 400.0) for i in range(12))
    result = simulate.run(world, Scaler(POLICY, delay=1.0, die=0.02), 9 * HOUR)
    assert (result.unstarted, result.killed) == (0, 0)
    assert all(w.ended for w in world.works.values())

"""Bugs that the simulated world found, one test each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.scale.worlds import SHAPES, SMALL
from vafnebula.scale import breaker
from vafnebula.scale.decide import decide
from vafnebula.scale.memory import Breaker, Memory
from vafnebula.scale.model import Job, Node, Policy, Pool, Quota, Shape, Snapshot, Source, Vm
from vafnebula.scale.simulate import Scaler, run
from vafnebula.scale.world import Faults, Work, World
from vafnebula.units import GIB

POLICY = Policy((Pool("w", (SMALL,), quota=Quota(10)),))
HOUR, DAY = 3600.0, 86400.0


def test_vms_that_join_and_die_with_their_first_job_are_no_success() -> None:
    """They closed the breaker each time: 4670 launches a day."""
    world = World(POLICY, Faults(fizzling=frozenset({"small"})))
    world.submit_all(Work(f"j{i}", SHAPES[0], 10.0, 60.0) for i in range(40))
    assert run(world, Scaler(POLICY), DAY).launches <= 50


def test_a_vm_that_joined_and_is_undecided_is_a_probe() -> None:
    """Two were tried at a time: the first had joined, and was about to die."""
    world = World(POLICY, Faults(fizzling=frozenset({"small"})))
    world.submit_all(Work(f"j{i}", SHAPES[0], 10.0, 60.0) for i in range(40))
    run(world, Scaler(POLICY), 6 * HOUR)
    late = [at for at, _ in world.launches if at > HOUR]
    assert all(b - a > 600.0 for a, b in zip(late, late[1:]))


def test_one_vm_of_a_wave_that_never_joins_does_not_stop_the_others() -> None:
    """Its siblings had joined in time: the template is good."""
    good = breaker.joined(Breaker(), started=10.0, seconds=30.0)
    assert breaker.failed(good, started=10.0, clock=610.0, why="did not join", late=True) == good
    assert breaker.failed(good, started=11.0, clock=611.0, why="did not join", late=True).failures == 1


def test_boot_times_are_learned_from_the_request_when_the_boot_was_not_seen() -> None:
    """Between two looks a VM went from asked for to joined: it was remembered as a boot of no time."""
    world = World(POLICY)
    world.submit(Work("j", SHAPES[0], 10.0, 60.0))
    scaler = Scaler(POLICY)
    run(world, scaler, 120.0)
    assert all(25.0 <= s <= 46.0 for s in scaler.memory.breakers["w/small"].boots)


def test_a_vm_that_offers_less_than_its_template_says_is_started_once() -> None:
    """Jobs of 8 GiB started one VM of 8 GiB after the other, none of which had 8 GiB for jobs."""
    world = World(POLICY, Faults(short=0.03))
    world.submit(Work("j", Shape(1, 8 * GIB), 10.0, 60.0))
    scaler = Scaler(POLICY)
    assert run(world, scaler, 12 * HOUR).launches == 1
    assert scaler.last is not None
    assert "small has only 4 cores, 7.76 GiB for jobs" in scaler.last.reasons.shapes[0].reason.text


def test_pieces_that_may_share_a_node_need_no_vm_each() -> None:
    """`procs=8` and `select=8` ask for slots anywhere."""
    source = Source(0.0)
    job = Job("j", SHAPES[0], "waiting", 8, spread=False)
    starts = decide(Snapshot(0.0, source, source, (job,)), Memory("m"), POLICY).actions
    assert len(starts) == 2
    apart = decide(Snapshot(0.0, source, source, (replace(job, spread=True),)), Memory("m"), POLICY).actions
    assert len(apart) == 8


def test_nodes_are_found_with_their_domain() -> None:
    """HTCondor and TORQUE say vaf-1.site.org where the policy says vaf-1."""
    source = Source(0.0)
    vm = Vm(1, "w", "r", "small", "running", "vaf-1")
    node = Node("vaf-1.site.org", SMALL.shape, SMALL.shape)
    views = decide(Snapshot(0.0, source, source, (), (node,), (vm,)), Memory("m"), POLICY).reasons.vms
    assert [(v.life, v.node) for v in views] == [("ready", "vaf-1.site.org")]


@pytest.mark.parametrize("bound", ["half-open", "trial", "budget"])
def test_a_job_on_many_nodes_gets_them_in_several_cycles(bound: str) -> None:
    """It needs more VMs than may start at once: nothing started at all, and a half-open breaker never closed."""
    policy = replace(POLICY, trial=2 if bound == "trial" else 10, starts=1 if bound == "budget" else 50)
    world = World(policy, Faults(broken=frozenset({"small"})) if bound == "half-open" else Faults())
    world.submit(Work("j", SHAPES[2], 10.0, 60.0, nodes=5))
    scaler = Scaler(policy)
    if bound == "half-open":
        run(world, scaler, HOUR)
        world.faults = Faults()
    run(world, scaler, 4 * HOUR)
    assert world.works["j"].ended is not None
    assert world.launches[-1][0] < 3 * HOUR

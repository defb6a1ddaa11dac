"""Bugs that the simulated world found, one test each."""

from __future__ import annotations

from tests.unit.scale.worlds import SHAPES, SMALL
from vafnebula.scale import breaker
from vafnebula.scale.memory import Breaker
from vafnebula.scale.model import Policy, Pool, Quota
from vafnebula.scale.simulate import Scaler, run
from vafnebula.scale.world import Faults, Work, World

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

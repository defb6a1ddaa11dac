from __future__ import annotations

import pytest

from vafnebula.scale import breaker
from vafnebula.scale.memory import Breaker
from vafnebula.scale.model import Policy, Shape, Timers

POLICY = Policy(())


def failures(count: int) -> Breaker:
    state = Breaker()
    for n in range(count):
        state = breaker.failed(state, started=100.0 * n + 1, clock=100.0 * (n + 1), why="did not join", late=True)
    return state


@pytest.mark.parametrize(
    ("count", "delay"), [(1, 0.0), (2, 60.0), (3, 300.0), (4, 900.0), (5, 1800.0), (6, 3600.0), (9, 3600.0)]
)
def test_delays_grow_and_stay(count: int, delay: float) -> None:
    state = failures(count)
    if delay:
        allowed, why = breaker.allowance(state, 0, state.last + delay - 1, POLICY)
        assert (allowed, why.what) == (0, "open")
        assert why.text.endswith("next try in 1 s")
    allowed, why = breaker.allowance(state, 0, state.last + delay, POLICY)
    assert (allowed, why.what) == (1, "half-open")
    assert breaker.allowance(state, 1, state.last + delay, POLICY)[0] == 0


def test_a_wave_counts_once_and_one_success_closes() -> None:
    state = breaker.failed(Breaker(), 10.0, 600.0, "did not join", late=True)
    assert breaker.failed(state, 10.0, 601.0, "did not join", late=True) == state
    assert breaker.failed(state, 599.0, 700.0, "did not join", late=True) == state
    assert breaker.failed(state, 601.0, 1200.0, "did not join", late=True).failures == 2
    closed = breaker.joined(state, 601.0, 40.0)
    assert breaker.allowance(closed, 5, 700.0, POLICY)[0] == POLICY.booting - 5


def test_an_untried_template_starts_a_few() -> None:
    allowed, why = breaker.allowance(Breaker(), 3, 0.0, POLICY)
    assert (allowed, why.what) == (POLICY.trial - 3, "untried")


def test_one_death_is_an_accident_two_are_a_pattern() -> None:
    good = breaker.joined(Breaker(), 1.0, 30.0)
    once = breaker.fizzled(good, 2.0, 100.0, "joined and vanished")
    assert breaker.allowance(once, 0, 100.0, POLICY)[1].what == "closed"
    twice = breaker.fizzled(once, 101.0, 200.0, "joined and vanished")
    assert breaker.allowance(twice, 0, 200.0, POLICY)[1].what == "half-open"
    assert breaker.served(twice).fizzled == 0


def test_time_to_come_alive_grows_with_experience_up_to_a_bound() -> None:
    timers = Timers(come_alive=600.0)
    assert breaker.come_alive(Breaker(), timers, POLICY) == 600.0
    assert breaker.come_alive(failures(2), timers, POLICY) == 2400.0
    assert breaker.come_alive(failures(30), timers, POLICY) == POLICY.come_alive_most
    seen = Breaker(boots=tuple(float(s) for s in range(300, 320)))
    assert breaker.come_alive(seen, timers, POLICY) == 3 * 318.0


def test_what_vms_really_offer_is_learned_and_forgotten_with_the_claim() -> None:
    claimed, seen = Shape(4, 8000, 1, frozenset({"a"})), Shape(8, 7700, 0, frozenset({"b"}), frozenset({"q"}))
    state = breaker.taught(Breaker(), claimed, seen)
    assert breaker.offer(state, claimed) == Shape(4, 7700, 0, frozenset({"b"}), frozenset({"q"}))
    assert breaker.taught(state, claimed, seen) is state
    assert breaker.offer(state, Shape(6, 8000)) == Shape(6, 8000)

from __future__ import annotations

from vafnebula.bench.many import growth


def test_growth_is_that_of_the_quickest_rounds_in_the_reference() -> None:
    made = growth("c", [1.0, 30.0, 2.0], [2.5, 5.0, 3.0], [0.5, 2.0, 4.0], 1)
    assert (made.median, made.min) == (3.0, 3.0)
    assert made.met is False


def test_what_became_no_slower_meets_its_goal() -> None:
    assert growth("c", [2.0], [1.5], [1.0], 1).met is True

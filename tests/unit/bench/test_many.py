from __future__ import annotations

from vafnebula.bench.many import growth


def test_growth_is_counted_in_the_reference() -> None:
    made = growth("c", [1.0, 3.0, 2.0], [2.5, 5.0, 3.0], [0.5, 2.0, 0.25], 1)
    assert (made.median, made.min) == (2.0, 6.0)
    assert made.met is False


def test_what_became_no_slower_meets_its_goal() -> None:
    assert growth("c", [2.0], [1.5], [1.0], 1).met is True

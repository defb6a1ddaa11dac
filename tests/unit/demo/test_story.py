from __future__ import annotations

from vafnebula.demo.story import Row


def test_a_row_shows_seconds_and_their_ratio_to_the_reference() -> None:
    assert Row("clone", 1.5, "raw dd", 0.6).cells == ["clone", "1.50", "2.50", "raw dd"]

from __future__ import annotations

from functools import partial

from vafnebula.bench.rounds import alternate


def test_cases_take_turns_and_keep_their_samples() -> None:
    called: list[str] = []

    def case(name: str) -> float:
        called.append(name)
        return float(len(called))

    took = alternate(3, {name: partial(case, name) for name in "ab"})
    assert "".join(called) == "ababab"
    assert took == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_progress_names_round_and_case() -> None:
    told: list[str] = []
    alternate(2, {"P": lambda: 0.0}, told.append)
    assert told == ["round 1 of 2: P", "round 2 of 2: P"]

"""Rounds: A B C A B C ..., so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Case = Callable[[], float]


def alternate(
    rounds: int, cases: Mapping[str, Case], tell: Callable[[str], None] = lambda _: None
) -> dict[str, list[float]]:
    """Call every case once per round, in turn; what each returned, in order of the rounds."""
    took: dict[str, list[float]] = {name: [] for name in cases}
    for n in range(rounds):
        for name, case in cases.items():
            tell(f"round {n + 1} of {rounds}: {name}")
            took[name].append(case())
    return took

"""Results: what every `vafnebula bench` writes, and how samples become it.  Pure.

    [{"id": "M1", "case": "thin 1 GiB: deed", "unit": "ratio to S", "median": 1.2, "min": 1.1, "goal": 1.5}, ...]

A goal is an upper bound, null where there is none.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Record:
    """One result.  `id` is the measurement's, `case` says what was measured, `unit` what the numbers are."""

    id: str
    case: str
    unit: str
    median: float
    min: float
    goal: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached by the median; None without a goal."""
        return None if self.goal is None else self.median <= self.goal


def plain(id: str, case: str, unit: str, samples: Sequence[float], goal: float | None = None) -> Record:
    """Median and min of `samples`."""
    return Record(id, case, unit, _short(statistics.median(samples)), _short(min(samples)), goal)


def ratio(
    id: str, case: str, unit: str, samples: Sequence[float], beside: Sequence[float], goal: float | None = None
) -> Record:
    """Samples in proportion to those of a reference taken in the same rounds.

    The median is that of the medians, the min that of the minima: one slow round of the reference alone then makes
    nothing look good.
    """
    median = statistics.median(samples) / statistics.median(beside)
    return Record(id, case, unit, _short(median), _short(min(samples) / min(beside)), goal)


def _short(value: float) -> float:
    """Three significant digits: more would be noise."""
    return float(f"{value:.3g}") if abs(value) < 1000 else float(round(value))


def to_json(records: Iterable[Record]) -> str:
    """One record per line, so that a diff shows what changed."""
    return "[\n" + ",\n".join(json.dumps(asdict(r)) for r in records) + "\n]\n"


def from_json(text: str) -> list[Record]:
    """Raises ValueError, TypeError for anything else than a list of records."""
    return [Record(**values) for values in json.loads(text)]


HEADINGS = ("", "case", "unit", "median", "min", "goal", "")


def cells(record: Record) -> tuple[str, ...]:
    """A record as the texts of a table's row, under HEADINGS."""
    verdict = {None: "", True: "met", False: "missed"}[record.met]
    goal = "" if record.goal is None else f"≤ {number(record.goal)}"
    return (record.id, record.case, record.unit, number(record.median), number(record.min), goal, verdict)


def number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def markdown(records: Iterable[Record]) -> str:
    """All records as one Markdown table."""
    lines = [HEADINGS, tuple("--:" if h in ("median", "min", "goal") else "---" for h in HEADINGS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [*lines, *map(cells, records)])

"""Records as the tables of docs/benchmarks.md.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vafnebula.bench.record import Record, markdown, number


def sections(records: Sequence[Record], titles: Mapping[str, str], grids: Iterable[str]) -> str:
    """A heading and a table per measurement, in the order of `titles`; those in `grids` as grids of medians."""
    parts = []
    for name, title in titles.items():
        own = [r for r in records if r.id == name]
        if own:
            parts.append(f"### {name}: {title}\n\n{grid(own) if name in grids else markdown(own)}")
    return "\n".join(parts)


def grid(records: Sequence[Record]) -> str:
    """Medians of cases `row: column` as a table; a missed goal stands behind its median."""
    rows = list(dict.fromkeys(r.case.split(": ")[0] for r in records))
    columns = list(dict.fromkeys(r.case.split(": ")[1] for r in records))
    found = {r.case: r for r in records}
    lines = [["", *columns], ["---", *("--:" for _ in columns)]]
    lines += [[row, *(_cell(found.get(f"{row}: {column}")) for column in columns)] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(record: Record | None) -> str:
    if record is None:
        return ""
    goal = "" if record.goal is None or record.met else f" (missed: {number(record.goal)})"
    return number(record.median) + goal


def merged(old: Sequence[Record], new: Sequence[Record]) -> list[Record]:
    """`old` with the records of every measurement in `new` replaced by the new ones; others stay where they are."""
    ids = {r.id for r in new}
    kept = [r for r in old if r.id not in ids]
    return [*kept, *new]

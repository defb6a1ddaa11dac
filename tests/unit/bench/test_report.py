from __future__ import annotations

from vafnebula.bench import report
from vafnebula.bench.record import Record

GRID = [
    Record("M4", "thin clone: all", "programs", 7, 7, 40),
    Record("M4", "thin clone: Ruby", "programs", 0, 0, 0),
    Record("M4", "thin delete: all", "programs", 9, 9, 8),
]


def test_a_grid_has_a_row_per_subject_and_shows_what_was_missed() -> None:
    assert report.grid(GRID).splitlines() == [
        "|  | all | Ruby |",
        "| --- | --: | --: |",
        "| thin clone | 7 | 0 |",
        "| thin delete | 9 (missed: 8) |  |",
    ]


def test_sections_follow_the_titles_and_skip_what_was_not_measured() -> None:
    text = report.sections([*GRID, Record("M1", "a", "b", 1, 1)], {"M1": "warm", "M2": "cold", "M4": "counts"}, ["M4"])
    assert [line for line in text.splitlines() if line.startswith("#")] == ["### M1: warm", "### M4: counts"]


def test_measuring_again_replaces_that_measurement_only() -> None:
    again = Record("M4", "thin clone: all", "programs", 6, 6, 40)
    other = Record("M1", "a", "b", 1, 1)
    assert report.merged([*GRID, other], [again]) == [other, again]

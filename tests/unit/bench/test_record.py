"""Samples become records, records become JSON and tables, and come back."""

from __future__ import annotations

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula.bench import record
from vafnebula.bench.record import Record

SAMPLES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=9)
RECORDS = st.builds(
    Record,
    id=st.sampled_from(("M1", "M10", "B")),
    case=st.text(st.characters(categories=("L", "N"), include_characters=" :,")),
    unit=st.just("ratio to S"),
    median=st.floats(0, 1e9),
    min=st.floats(0, 1e9),
    goal=st.none() | st.floats(0, 1e3),
)


def test_the_shape_is_the_agreed_one() -> None:
    made = record.plain("M1", "thin 1 GiB warm", "ratio to S", [1.3, 1.2, 1.1], 1.5)
    assert json.loads(record.to_json([made])) == [
        {"id": "M1", "case": "thin 1 GiB warm", "unit": "ratio to S", "median": 1.2, "min": 1.1, "goal": 1.5}
    ]


@given(SAMPLES)
def test_median_and_min_keep_three_digits(samples: list[float]) -> None:
    made = record.plain("M1", "", "", samples)
    assert made.median == pytest.approx(statistics.median(samples), rel=0.006)
    assert made.min == pytest.approx(min(samples), rel=0.006)
    assert made.goal is None
    assert made.met is None


@given(SAMPLES, st.floats(0.01, 100))
def test_a_ratio_is_of_medians_and_of_minima(samples: list[float], factor: float) -> None:
    made = record.ratio("M1", "", "", [s * factor for s in samples], samples)
    assert made.median == pytest.approx(factor, rel=0.006)
    assert made.min == pytest.approx(factor, rel=0.006)


def test_one_slow_round_of_the_reference_alone_changes_nothing() -> None:
    assert record.ratio("M1", "", "", [2, 2, 2], [1, 50, 1]).median == 2


@pytest.mark.parametrize(
    ("median", "goal", "met"), [(1.0, 1.0, True), (1.01, 1.0, False), (0, 0, True), (5, None, None)]
)
def test_a_goal_is_an_upper_bound(median: float, goal: float | None, met: bool | None) -> None:
    assert Record("M1", "", "", median, 0, goal).met is met


@given(st.lists(RECORDS))
def test_json_comes_back(records: list[Record]) -> None:
    text = record.to_json(records)
    assert record.from_json(text) == records
    assert len(text.splitlines()) == len(records) + 2 + (not records)


@pytest.mark.parametrize("text", ["", "{}x", '[{"id": "M1"}]', '[{"nonsense": 1}]', "[1]"])
def test_what_holds_no_records_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        record.from_json(text)


def test_the_table_says_what_was_missed() -> None:
    rows = record.markdown([Record("M1", "a", "b", 2.0, 1.25, 1.5), Record("M4", "c", "d", 1.0, 1.0)]).splitlines()
    assert rows[2] == "| M1 | a | b | 2 | 1.25 | ≤ 1.5 | missed |"
    assert rows[3] == "| M4 | c | d | 1 | 1 |  |  |"
    assert {row.count("|") for row in rows} == {8}

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula.scale.batch import expand


@pytest.mark.parametrize(
    ("text", "numbers", "limit"),
    [
        ("1-3", [1, 2, 3], None),
        ("1,3,7-9", [1, 3, 7, 8, 9], None),
        ("0-10:5%2", [0, 5, 10], 2),
        ("1-4%1", [1, 2, 3, 4], 1),
    ],
)
def test_elements(text: str, numbers: list[int], limit: int | None) -> None:
    assert expand.elements(text) == (numbers, limit)


@pytest.mark.parametrize("text", ["", "x", "3-1", "1-3%", "1-3%x", "1-5:0", "1-999999999", "1,2,..."])
def test_what_cannot_be_read_is_none(text: str) -> None:
    assert expand.elements(text) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("(null)", ()),
        ("p1", ("p1",)),
        ("p1,q2", ("p1", "q2")),
        ("p[1-2,05-07],x3", ("p1", "p2", "p05", "p06", "p07", "x3")),
        ("r[1-2]n[1-2]", ("r1n1", "r1n2", "r2n1", "r2n2")),
        ("p[x]", ("p[x]",)),
        ("p[1-999999999]", ("p[1-999999999]",)),
    ],
)
def test_hosts(text: str, names: tuple[str, ...]) -> None:
    assert expand.hosts(text) == names


@given(st.text("p[]0123456789,-x", max_size=30))
def test_any_text_is_some_hosts(text: str) -> None:
    assert len(expand.hosts(text)) <= expand.MOST

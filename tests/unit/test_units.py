from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula.units import GIB, KIB, MIB, human, round_up


@given(size=st.integers(0, 1 << 60), step=st.integers(1, 1 << 40))
def test_round_up_gives_the_smallest_multiple_that_is_not_below(size: int, step: int) -> None:
    rounded = round_up(size, step)
    assert rounded % step == 0
    assert size <= rounded < size + step


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (KIB, "1 KiB"),
        (512 * MIB, "512 MiB"),
        (3 * GIB // 2, "1.5 GiB"),
        (4096 * GIB, "4096 GiB"),
    ],
)
def test_human_sizes(size: int, text: str) -> None:
    assert human(size) == text

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula.bench import content
from vafnebula.units import MIB


@given(size=st.integers(1, 4096).map(lambda n: n * MIB), holes=st.integers(0, 99))
def test_extents_are_in_order_and_inside(size: int, holes: int) -> None:
    position = 0
    for start, end in content.layout(size, holes):
        assert position <= start < end <= size
        position = end


@pytest.mark.parametrize("holes", [0, 10, 50, 90])
def test_holes_are_about_what_was_asked_for(holes: int) -> None:
    size = 1024 * MIB
    data = sum(end - start for start, end in content.layout(size, holes))
    assert 1 - data / size == pytest.approx(holes / 100, abs=0.05)


def test_a_file_holds_data_there_and_zeros_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.touch()
    content.write(path, 8 * MIB, 50)
    written = path.read_bytes()
    assert len(written) == 8 * MIB
    covered = [range(start, end) for start, end in content.layout(8 * MIB, 50)]
    for offset in range(0, 8 * MIB, MIB):
        block = written[offset : offset + MIB]
        inside = any(offset in extent for extent in covered)
        assert inside != (block == bytes(MIB))
        assert not inside or int.from_bytes(block[:8], "big") == offset

from __future__ import annotations

import pytest

from vafnebula.bench.migration import BLOCK, changed, traffic
from vafnebula.units import MIB

DEV = """\
Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame |bytes    packets errs drop fifo colls
    lo: 5000000 10 0 0 0 0 0 0  5000000 10 0 0 0 0 0 0
  eth0:    1000 10 0 0 0 0 0 0      234 10 0 0 0 0 0 0
vec1:70000000 10 0 0 0 0 0 0     8000 10 0 0 0 0 0 0
"""


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("percent", [1, 10, 50])
def test_what_is_changed_is_as_much_as_the_case_says(percent: int, together: bool) -> None:
    size = 100 * MIB
    found = list(changed(size, percent, together))
    position = 0
    for offset, length in found:
        assert position <= offset < offset + length <= size
        assert offset % BLOCK == length % BLOCK == 0
        position = offset + length
    assert sum(length for _, length in found) == size * percent // 100
    assert found == list(changed(size, percent, together)), "rounds must not differ"


def test_scattered_blocks_are_all_over_the_disk_and_a_piece_is_one() -> None:
    size = 100 * MIB
    scattered = [offset for offset, _ in changed(size, 1, False)]
    assert {offset * 10 // size for offset in scattered} == set(range(10))
    piece = list(changed(size, 10, True))
    assert all(offset + length == after for (offset, length), (after, _) in zip(piece, piece[1:]))


def test_traffic_is_that_of_both_directions_without_the_loopback() -> None:
    assert traffic(DEV) == 1000 + 234 + 70000000 + 8000

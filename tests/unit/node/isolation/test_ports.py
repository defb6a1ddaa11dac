from __future__ import annotations

import pytest

from vafnebula.node.isolation import ports


@pytest.mark.parametrize(("own", "tap"), [(0x0200AC100105, "fe:00:ac:10:01:05"), (0xFE00AC100105, "fa:00:ac:10:01:05")])
def test_a_taps_mac_is_the_guests_with_another_first_octet(own: int, tap: str) -> None:
    assert ports.of_tap(own) == tap

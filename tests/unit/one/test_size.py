from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors, units
from vafnebula.one.size import MAX_MIB, size_mib


def test_megabytes_are_mebibytes() -> None:
    assert size_mib("SIZE", "20") == 20 * units.MIB


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e3", "0x10", " 1", "\uff11", "99999999999", str(MAX_MIB + 1)])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(errors.BadArgument, match="SIZE"):
        size_mib("SIZE", text)


@given(st.text())
def test_any_text_is_a_size_in_range_or_refused(text: str) -> None:
    try:
        size = size_mib("SIZE", text)
    except errors.BadArgument:
        return
    assert units.MIB <= size <= MAX_MIB * units.MIB

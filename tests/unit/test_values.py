from __future__ import annotations

from collections.abc import Callable

import pytest

from vafnebula import values


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (values.choice("thin", "thick"), "thick", "thick"),
        (values.number(5, 100), "5", 5),
        (values.number(5, 100), "100", 100),
        (values.yes_no, "Yes", True),
        (values.yes_no, "no", False),
        (values.absolute, "/var/lock", "/var/lock"),
    ],
)
def test_what_is_taken(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        (values.choice("thin", "thick"), "Thick", "one of thin, thick"),
        (values.number(5, 100), "4", "from 5 to 100"),
        (values.number(5, 100), "101", "from 5 to 100"),
        (values.number(5, 100), "-7", "whole number"),
        (values.number(5, 100), "7.5", "whole number"),
        (values.number(5, 100), "\N{ARABIC-INDIC DIGIT SEVEN}", "whole number"),
        (values.number(0, 10**12), "1" * 5000, "whole number"),  # int() itself refuses that many with other words
        (values.yes_no, "true", "one of yes, no"),
        (values.absolute, "lock", "absolute path"),
        (values.absolute, "/var/my lock", "without blanks"),
    ],
)
def test_what_is_refused(parse: Callable[[str], object], text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)

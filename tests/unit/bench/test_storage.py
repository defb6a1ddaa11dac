from __future__ import annotations

import pytest

from vafnebula import errors
from vafnebula.bench import storage


def test_all_measurements_are_the_default() -> None:
    assert storage.chosen("") == list(storage.MEASUREMENTS)


def test_a_choice_keeps_the_order_of_weight() -> None:
    assert storage.chosen("m10, M1") == ["M1", "M10"]


def test_an_unknown_measurement_is_named() -> None:
    with pytest.raises(errors.BadArgument, match=r"M99.*there are M1, M2"):
        storage.chosen("M1,M99")


@pytest.mark.parametrize(("only", "count"), [("M1", 1), ("M9", 2), ("M1,M9,M14", 2), ("M14", 1)])
def test_as_many_nodes_as_what_is_chosen_needs(only: str, count: int) -> None:
    assert storage.nodes(storage.chosen(only)) == count

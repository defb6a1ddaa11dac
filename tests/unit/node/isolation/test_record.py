from __future__ import annotations

import pytest

from vafnebula.node.isolation.record import as_dict, record, replace


@record
class Point:
    x: int
    y: int = 2


def test_it_does_what_a_frozen_dataclass_does() -> None:
    assert Point(1) == Point(1, 2) == Point(x=1, y=2) == replace(Point(0), x=1)
    assert Point(1) != Point(2)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert repr(Point(1)) == "Point(x=1, y=2)"
    assert as_dict(Point(3)) == {"x": 3, "y": 2}


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"x": 1, "z": 2})])
def test_fields_are_exactly_those(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*args, **kwargs)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Point(1).x = 2  # type: ignore[misc]

from __future__ import annotations

import pytest

from tests.fakes.node import Node, NodeMaker
from tests.unit.node.steps import FAULTS, Case, survives
from vafnebula import errors
from vafnebula.model_points import SnapDelete
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.snap_create import snap_create
from vafnebula.node.deeds.snap_delete import snap_delete
from vafnebula.node.deeds.snap_revert import snap_revert


def two(node: Node) -> SnapDelete:
    clone(node.host(), node.clone(), node.settings)
    for snap in (0, 1):
        snap_create(node.host(), node.snap_create(snap), node.settings)
    return node.snap_delete()


def the_other_is_left(node: Node) -> None:
    assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-s1"]
    assert node.disk_holds(node.image_content())


@pytest.mark.parametrize("kind", FAULTS)
def test_stopped_at_any_step(make_node: NodeMaker, kind: str) -> None:
    case = Case(snap_delete, two, the_other_is_left, left=lambda node, before: None, settled=False)
    survives(case, make_node, "thin", kind)


def test_it_costs_one_command(thin: Node) -> None:
    request = two(thin)
    host = thin.host()
    snap_delete(host, request, thin.settings)
    assert [c[0] for c in host.commands] == ["lvremove"]


def test_a_disk_that_was_made_of_it_stays(thin: Node) -> None:
    request = two(thin)
    snap_revert(thin.host(), thin.snap_revert(), thin.settings)
    snap_delete(thin.host(), request, thin.settings)
    the_other_is_left(thin)


def test_mode_thick_refuses(thick: Node) -> None:
    with pytest.raises(errors.NeedsThin):
        snap_delete(thick.host(), thick.snap_delete(), thick.settings)

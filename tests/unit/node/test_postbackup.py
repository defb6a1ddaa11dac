from __future__ import annotations

import os

import pytest

from tests.fakes.node import Node, NodeMaker
from tests.unit.node.steps import FAULTS, Case, killed, survives
from tests.unit.node.test_prebackup import cloned, incremental
from vafnebula.model_points import PostBackup
from vafnebula.node.deeds.postbackup import postbackup
from vafnebula.node.deeds.prebackup import prebackup


def backed_up(node: Node) -> PostBackup:
    prebackup(node.host(), incremental(node), node.settings)
    return node.postbackup(0)


def both_bases_stay(node: Node) -> None:
    assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-b0", "lv-one-7-0-b1"]
    assert not os.path.exists(f"{node.disk().directory}/backup")


@pytest.mark.parametrize("kind", FAULTS)
def test_stopped_at_any_step(make_node: NodeMaker, kind: str) -> None:
    case = Case(postbackup, backed_up, both_bases_stay, left=lambda node, before: None, settled=False)
    survives(case, make_node, "thin", kind)


def test_a_failed_backup_gives_its_snapshot_up(thin: Node) -> None:
    backed_up(thin)
    postbackup(thin.host(), thin.postbackup(0, failed=True), thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-b0"]


def test_a_killed_backup_leaves_nothing(thin: Node) -> None:
    request = cloned(thin)
    killed(prebackup, thin, request, "copy qemu-img")
    assert thin.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-backup"]
    postbackup(thin.host(), thin.postbackup(), thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-0"]
    assert not os.path.exists(request.place)


def test_a_node_that_never_had_the_vm(node: Node) -> None:
    with node.lvm.metadata() as vgs:
        vgs.clear()
    postbackup(node.host(), node.postbackup(), node.settings)

from __future__ import annotations

import os

import pytest

from tests.fakes.lvm import EXTENT
from tests.fakes.node import Node, NodeMaker, Picture
from tests.unit.node.steps import FAULTS, Case, killed, survives
from vafnebula import errors
from vafnebula.model_points import SnapRevert
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.cpds import cpds
from vafnebula.node.deeds.resize import resize
from vafnebula.node.deeds.snap_create import snap_create
from vafnebula.node.deeds.snap_revert import snap_revert

LATER = b"written after the snapshot"


def written_on(node: Node) -> SnapRevert:
    clone(node.host(), node.clone(), node.settings)
    snap_create(node.host(), node.snap_create(), node.settings)
    node.write_disk("lv-one-7-0", LATER)
    return node.snap_revert()


def written(node: Node) -> bytes:
    return LATER + node.image_content()[len(LATER) :]


def is_reverted(node: Node) -> None:
    assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-s0"]
    assert node.disk_holds(node.image_content())
    disk = node.volumes()["lv-one-7-0"]
    assert not disk.readonly
    assert disk.active
    assert {"vaf.vm=7", "vaf.disk=0", "vaf.seq=0"} <= disk.tags
    assert len([t for t in disk.tags if t.startswith("vaf.run=")]) == 1


def nothing_lost(node: Node, before: Picture) -> None:
    """The disk is there under its name, with either content, and nothing is beside it."""
    assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-s0"]
    assert node.disk_holds(node.image_content()) or node.disk_holds(written(node))


@pytest.mark.parametrize("kind", FAULTS)
def test_stopped_at_any_step(make_node: NodeMaker, kind: str) -> None:
    survives(Case(snap_revert, written_on, is_reverted, nothing_lost, settled=False), make_node, "thin", kind)


def test_a_disk_that_lost_its_name_gets_it_back_with_its_old_content(thin: Node) -> None:
    """A run was killed between the two renames, and nobody reverts again."""
    request = written_on(thin)
    killed(snap_revert, thin, request, "lvm lvrename")
    assert "lv-one-7-0" not in thin.volumes()
    cpds(thin.host(), thin.save_as(), thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-s0"]
    assert thin.disk_holds(written(thin))
    assert thin.image_content("new") == written(thin)


def test_the_link_is_not_touched(thin: Node) -> None:
    request = written_on(thin)
    before = os.lstat(thin.disk().link)
    snap_revert(thin.host(), request, thin.settings)
    assert os.lstat(thin.disk().link) == before


def test_a_retried_clone_still_knows_the_disk(thin: Node) -> None:
    snap_revert(thin.host(), written_on(thin), thin.settings)
    assert clone(thin.host(), thin.clone(), thin.settings)["result"] == "there"


def test_back_and_forth(thin: Node) -> None:
    snap_revert(thin.host(), written_on(thin), thin.settings)
    thin.write_disk("lv-one-7-0", LATER)
    snap_create(thin.host(), thin.snap_create(1), thin.settings)
    snap_revert(thin.host(), thin.snap_revert(0), thin.settings)
    assert thin.disk_holds(thin.image_content())
    snap_revert(thin.host(), thin.snap_revert(1), thin.settings)
    assert thin.disk_holds(written(thin))


def test_a_disk_that_grew_since_keeps_its_size(thin: Node) -> None:
    request = written_on(thin)
    resize(thin.host(), thin.resize(3 * EXTENT), thin.settings)
    snap_revert(thin.host(), request, thin.settings)
    disk = thin.volumes()["lv-one-7-0"]
    assert disk.size == 3 * EXTENT
    assert f"vaf.size={3 * EXTENT}" in disk.tags
    assert thin.disk_holds(thin.image_content())


def test_a_disk_in_use_is_not_reverted(thin: Node) -> None:
    request = written_on(thin)
    thin.change("lv-one-7-0", opened=True)
    host = thin.host()
    with pytest.raises(errors.Busy, match="the VM still runs"):
        snap_revert(host, request, thin.settings)
    assert host.changes == []


def test_a_snapshot_that_is_not_there(thin: Node) -> None:
    written_on(thin)
    with pytest.raises(errors.NotFound, match="disk snapshot vg-one-0/lv-one-7-0-s5 does not exist"):
        snap_revert(thin.host(), thin.snap_revert(5), thin.settings)


def test_what_an_interrupted_revert_published_is_not_given_up(thin: Node) -> None:
    """Killed before the last step; another snapshot is chosen then."""
    request = written_on(thin)
    snap_create(thin.host(), thin.snap_create(1), thin.settings)
    steps = thin.host()
    snap_revert(steps, request, thin.settings)
    thin.write_disk("lv-one-7-0", LATER)
    killed(snap_revert, thin, request, steps.steps.index("lvm lvremove"))
    assert "lv-one-7-0-old" in thin.volumes()
    snap_revert(thin.host(), thin.snap_revert(1), thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-s0", "lv-one-7-0-s1"]
    assert thin.disk_holds(written(thin))


def test_mode_thick_refuses(thick: Node) -> None:
    with pytest.raises(errors.NeedsThin):
        snap_revert(thick.host(), thick.snap_revert(), thick.settings)

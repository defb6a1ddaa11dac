from __future__ import annotations

import os

import pytest

from tests.fakes.lvm import EXTENT
from tests.fakes.node import IMAGE, VG, Node, NodeMaker, Picture
from tests.unit.node.steps import FAULTS, Case, changes_nothing, survives
from vafnebula import errors
from vafnebula.model_points import Resize
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.ln import ln
from vafnebula.node.deeds.mkimage import mkimage
from vafnebula.node.deeds.mvds import mvds
from vafnebula.node.deeds.resize import resize

SIZE = 3 * EXTENT - 512


def copied(node: Node) -> Resize:
    ln(node.host(), node.link(), node.settings)
    return node.resize(SIZE)


def is_grown(node: Node) -> None:
    disk = node.volumes()["lv-one-7-0"]
    assert node.disk_volumes() == ["lv-one-7-0"]
    assert disk.size == 3 * EXTENT
    assert [t for t in disk.tags if t.startswith("vaf.size=")] == [f"vaf.size={SIZE}"]
    assert node.disk_holds(node.image_content())


def readable(node: Node, before: Picture) -> None:
    """Larger or not, the guest reads its image and zeros; nothing is beside the disk."""
    assert node.disk_volumes() == ["lv-one-7-0"]
    assert node.disk_holds(node.image_content())


@pytest.mark.parametrize("mode", ["thin", "thick"])
@pytest.mark.parametrize("kind", FAULTS)
def test_stopped_at_any_step(make_node: NodeMaker, kind: str, mode: str) -> None:
    survives(Case(resize, copied, is_grown, readable), make_node, mode, kind)


def test_what_is_large_enough_is_left_alone(node: Node) -> None:
    resize(node.host(), copied(node), node.settings)
    for size in (SIZE, SIZE - 1, EXTENT):
        changes_nothing(resize, node, node.resize(size))


def test_within_the_last_extent_only_the_tag_changes(node: Node) -> None:
    copied(node)
    host = node.host()
    resize(host, node.resize(IMAGE + 512), node.settings)
    assert [c[0] for c in host.changes] == ["lvchange"]
    mvds(node.host(), node.save(), node.settings)
    assert os.path.getsize(node.save().image.path) == IMAGE + 512


def test_a_larger_disk_is_saved_whole(node: Node) -> None:
    resize(node.host(), copied(node), node.settings)
    mvds(node.host(), node.save(), node.settings)
    assert os.path.getsize(node.save().image.path) == SIZE


def test_a_clone_grows_in_mode_thin(thin: Node) -> None:
    clone(thin.host(), thin.clone(), thin.settings)
    resize(thin.host(), thin.resize(SIZE), thin.settings)
    is_grown(thin)
    assert clone(thin.host(), thin.clone(), thin.settings)["result"] == "there"


def test_classic_snapshots_do_not_grow(thick: Node) -> None:
    for deed, request in ((clone, thick.clone()), (mkimage, thick.scratch())):
        deed(thick.host(), request, thick.settings)
        before = thick.picture()
        with pytest.raises(errors.NeedsThin, match="a larger disk needs mode thin"):
            resize(thick.host(), thick.resize(4 * EXTENT), thick.settings)
        assert thick.picture() == before
        os.unlink(thick.disk().link)


def test_no_room_leaves_the_disk_as_it_is(thick: Node) -> None:
    copied(thick)
    thick.occupy(EXTENT)
    before = thick.picture()
    with pytest.raises(errors.NoRoom):
        resize(thick.host(), thick.resize(SIZE), thick.settings)
    assert thick.picture() == before


def test_a_disk_that_overflowed(thick: Node) -> None:
    clone(thick.host(), thick.clone(), thick.settings)
    thick.change("lv-one-7-0", overflowed=True)
    with pytest.raises(errors.BrokenSnapshot):
        resize(thick.host(), thick.resize(SIZE), thick.settings)


def test_extents_that_somebody_took_meanwhile_are_not_handed_over_unread(thick: Node) -> None:
    """What is handed over are the extents that were zeroed, not any."""
    copied(thick)
    host = thick.host()
    resize(host, thick.resize(SIZE), thick.settings)
    [extend] = [c for c in host.changes if c[0] == "lvextend"]
    assert extend[-2:] == (f"{VG}/lv-one-7-0", "/dev/sdb:1-2")

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.lvm import EXTENT
from tests.fakes.node import IMAGE, Node, NodeMaker, Picture
from tests.unit.node.steps import FAULTS, Case, matrix, survives
from vafnebula import errors
from vafnebula.model_points import SaveAs
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.cpds import cpds
from vafnebula.node.deeds.snap_create import snap_create

WORK = b"a day's work"


def worked_on(node: Node) -> SaveAs:
    clone(node.host(), node.clone(), node.settings)
    node.write_disk("lv-one-7-0", WORK)
    return node.save_as()


def with_a_snapshot(node: Node) -> SaveAs:
    clone(node.host(), node.clone(), node.settings)
    snap_create(node.host(), node.snap_create(2), node.settings)
    node.write_disk("lv-one-7-0", WORK)
    return node.save_as(2)


def on_the_front_end(node: Node) -> SaveAs:
    """A stopped VM: its disk is a file."""
    node.image()
    directory = Path(node.disk().directory)
    directory.mkdir(parents=True)
    (directory / "disk.0").write_bytes(WORK + node.image_content()[len(WORK) :])
    (directory / "disk.0.snap").mkdir()
    (directory / "disk.0.snap/2").write_bytes(node.image_content())
    return node.save_as()


def is_saved(node: Node) -> None:
    content = Path(node.save_as().image.path).read_bytes()
    assert content.startswith(WORK)
    assert content[len(WORK) :] == node.image_content()[len(WORK) :]
    assert sorted(os.listdir(node.root / "ds/1")) == ["img", "new"]
    assert node.disk_volumes() in (["lv-one-7-0"], [])


def no_half_image(node: Node, before: Picture) -> None:
    after = node.picture()
    assert after.volumes == before.volumes
    new = {f for f in after.files if f not in before.files}
    assert new <= {node.save_as().image.path}
    for path in new:
        assert Path(path).read_bytes().startswith(WORK)


@matrix([worked_on, on_the_front_end])
def test_stopped_at_any_step(make_node: NodeMaker, start: object, mode: str, kind: str) -> None:
    survives(Case(cpds, start, is_saved, no_half_image, settled=False), make_node, mode, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_disk_snapshot_stopped_at_any_step(make_node: NodeMaker, kind: str) -> None:
    def the_older_content(node: Node) -> None:
        assert Path(node.save_as().image.path).read_bytes() == node.image_content()
        assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-s2"]

    case = Case(cpds, with_a_snapshot, the_older_content, left=lambda node, before: None, settled=False)
    survives(case, make_node, "thin", kind)


def test_a_disk_snapshot_on_the_front_end(thin: Node) -> None:
    on_the_front_end(thin)
    assert cpds(thin.host(), thin.save_as(2), thin.settings) == {"bytes": IMAGE}
    assert thin.image_content("new") == thin.image_content()
    with pytest.raises(errors.NotFound, match=r"disk\.0\.snap/3"):
        cpds(thin.host(), thin.save_as(3), thin.settings)


def test_a_running_vm_writes_on_while_it_is_saved(thin: Node) -> None:
    from tests.fakes.host import Fault

    request = worked_on(thin)
    host = thin.host(Fault("copy dd", "call", lambda: thin.write_disk("lv-one-7-0", b"and more")))
    cpds(host, request, thin.settings)
    is_saved(thin)


def test_in_mode_thick_nothing_may_use_the_disk(thick: Node) -> None:
    request = worked_on(thick)
    thick.change("lv-one-7-0", opened=True)
    before = thick.picture()
    with pytest.raises(errors.NeedsThin, match="in use"):
        cpds(thick.host(), request, thick.settings)
    assert thick.picture() == before


def test_zeros_become_holes(node: Node) -> None:
    clone(node.host(), node.clone(size=4 * EXTENT if node.mode == "thin" else 0), node.settings)
    cpds(node.host(), node.save_as(), node.settings)
    assert os.stat(node.save_as().image.path).st_blocks * 512 <= 2 << 20


def test_the_image_can_be_read_by_its_owner_and_group_alone(node: Node) -> None:
    cpds(node.host(), worked_on(node), node.settings)
    assert os.stat(node.save_as().image.path).st_mode & 0o777 == 0o640


def test_a_datastore_that_is_not_mounted_here(node: Node) -> None:
    request = worked_on(node)
    os.rename(node.root / "ds/1", node.root / "ds/unmounted")
    before = node.picture()
    with pytest.raises(errors.ImageMissing, match="its directory is not there"):
        cpds(node.host(), request, node.settings)
    assert node.picture() == before


def test_a_disk_that_overflowed_is_not_saved(thick: Node) -> None:
    request = worked_on(thick)
    thick.change("lv-one-7-0", overflowed=True)
    with pytest.raises(errors.BrokenSnapshot):
        cpds(thick.host(), request, thick.settings)


def test_no_disk(node: Node) -> None:
    with pytest.raises(errors.NotFound):
        cpds(node.host(), node.save_as(), node.settings)

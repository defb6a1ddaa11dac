from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import VG, Node, NodeMaker
from tests.unit.node.steps import FAULTS, Case, changes_nothing, survives
from vafnebula import errors, names
from vafnebula.model_points import SnapCreate
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.delete import delete
from vafnebula.node.deeds.ln import ln
from vafnebula.node.deeds.mvds import mvds
from vafnebula.node.deeds.snap_create import snap_create

SNAP = "lv-one-7-0-s0"


def cloned(node: Node) -> SnapCreate:
    clone(node.host(), node.clone(), node.settings)
    return node.snap_create()


def is_made(node: Node) -> None:
    snap = node.volumes()[SNAP]
    assert (snap.kind, snap.readonly, snap.active, snap.skip, snap.origin) == ("thin", True, False, True, "lv-one-7-0")
    assert {names.OURS, "vaf.vm=7", "vaf.disk=0", "vaf.snap=0", "vaf.seq=0"} <= snap.tags
    assert node.volume_holds(SNAP, node.image_content())


@pytest.mark.parametrize("kind", FAULTS)
def test_stopped_at_any_step(make_node: NodeMaker, kind: str) -> None:
    survives(Case(snap_create, cloned, is_made), make_node, "thin", kind)


def test_it_costs_one_look_and_one_command(thin: Node) -> None:
    request = cloned(thin)
    host = thin.host()
    assert snap_create(host, request, thin.settings) == {"result": "made"}
    assert [c[0] for c in host.commands] == ["lvs", "lvcreate"]


def test_it_keeps_what_the_guest_overwrites(thin: Node) -> None:
    snap_create(thin.host(), cloned(thin), thin.settings)
    thin.write_disk("lv-one-7-0", b"later")
    assert thin.volume_holds(SNAP, thin.image_content())
    changes_nothing(snap_create, thin, thin.snap_create())  # a twin that comes late changes nothing


def test_a_number_that_an_older_incarnation_used_is_made_anew(thin: Node) -> None:
    snap_create(thin.host(), cloned(thin), thin.settings)
    thin.change("lv-one-7-0", tags={t.replace("seq=0", "seq=1") for t in thin.volumes()["lv-one-7-0"].tags})
    thin.write_disk("lv-one-7-0", b"later")
    assert snap_create(thin.host(), thin.snap_create(), thin.settings) == {"result": "made"}
    assert thin.volume_holds(SNAP, b"later" + thin.image_content()[5:])


def test_a_clone_of_another_incarnation_takes_the_snapshots_away(thin: Node) -> None:
    snap_create(thin.host(), cloned(thin), thin.settings)
    clone(thin.host(), thin.clone(seq=1), thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-0"]


def test_a_clone_that_meets_a_disk_in_use_leaves_its_snapshots(thin: Node) -> None:
    snap_create(thin.host(), cloned(thin), thin.settings)
    thin.change("lv-one-7-0", opened=True)
    with pytest.raises(errors.Busy):
        clone(thin.host(), thin.clone(seq=1), thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-0", SNAP]


def test_a_delete_of_the_disk_or_of_the_vm_takes_them_along(thin: Node) -> None:
    for disk in (0, -1):
        for snap in (0, 1):
            snap_create(thin.host(), replace(cloned(thin), snap=snap), thin.settings)
        assert len(thin.disk_volumes()) == 3
        delete(thin.host(), thin.delete(disk), thin.settings)
        assert thin.disk_volumes() == []


def test_disk_1_is_not_disk_10(thin: Node) -> None:
    for disk in (1, 10):
        clone(thin.host(), replace(thin.clone(), disk=thin.disk(disk=disk)), thin.settings)
        snap_create(thin.host(), SnapCreate(thin.disk(disk=disk), 0), thin.settings)
    delete(thin.host(), thin.delete(1), thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-10", "lv-one-7-10-s0"]


def test_mvds_takes_them_along(thin: Node) -> None:
    ln(thin.host(), thin.link(), thin.settings)
    snap_create(thin.host(), thin.snap_create(), thin.settings)
    mvds(thin.host(), thin.save(), thin.settings)
    assert thin.disk_volumes() == []


def test_mode_thick_refuses_and_names_the_mode_that_can(thick: Node) -> None:
    host = thick.host()
    with pytest.raises(errors.NeedsThin, match="a disk snapshot needs mode thin"):
        snap_create(host, cloned(thick), thick.settings)
    assert host.commands == []


def test_a_disk_of_mode_thick_in_a_datastore_that_became_thin(thick: Node) -> None:
    request = cloned(thick)
    with pytest.raises(errors.NeedsThin):
        snap_create(thick.host(), request, thick.with_settings(mode="thin"))


def test_a_disk_that_is_not_here(thin: Node) -> None:
    with pytest.raises(errors.NotFound, match="on another node"):
        snap_create(thin.host(), thin.snap_create(), thin.settings)


def test_a_strangers_volume_of_that_name(thin: Node) -> None:
    request = cloned(thin)
    thin.lvm.add(VG, Lv(SNAP, EXTENT, "linear"))
    before = thin.picture()
    with pytest.raises(errors.NotOurs):
        snap_create(thin.host(), request, thin.settings)
    assert thin.picture() == before


def test_a_full_pool_and_full_metadata_refuse(thin: Node) -> None:
    request = cloned(thin)
    thin.occupy(EXTENT // 2)
    with pytest.raises(errors.NoRoom):
        snap_create(thin.host(), request, thin.settings)
    thin.occupy(20 * EXTENT)
    with thin.lvm.metadata() as vgs:
        vgs[VG].metadata = 91.0
    with pytest.raises(
        errors.NoMetadata, match="91 % full, which leaves too little; extend it: lvextend --poolmetadatasize"
    ):
        snap_create(thin.host(), request, thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-0"]


def test_an_origin_is_not_evicted_while_a_descendant_lives(thin: Node) -> None:
    """Whatever became of the disk in between: the reverted disk's origin is the disk snapshot."""
    from vafnebula.node import lvm, room
    from vafnebula.node.deeds.snap_revert import snap_revert

    snap_create(thin.host(), cloned(thin), thin.settings)
    snap_revert(thin.host(), thin.snap_revert(), thin.settings)
    assert thin.volumes()["lv-one-7-0"].origin == SNAP
    group = lvm.group(thin.host(), VG)
    assert room.candidates(group, thin.with_settings(cache_min_age=0), 9e9) == []
    delete(thin.host(), thin.delete(), thin.settings)
    group = lvm.group(thin.host(), VG)
    assert [v.name for v in room.candidates(group, thin.with_settings(cache_min_age=0), 9e9)] == thin.origins()

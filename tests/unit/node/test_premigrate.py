"""Before, after and instead of a live migration: between two system datastores of one node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.lvm import EXTENT
from tests.fakes.node import VM, Node, NodeMaker, Picture
from tests.unit.node import test_mv
from tests.unit.node.steps import Case, matrix, nothing_left, survives
from vafnebula import errors, names
from vafnebula.model import DiskRef, Link
from vafnebula.model_moves import Failmigrate, Place, Postmigrate, Premigrate
from vafnebula.model_points import SnapCreate
from vafnebula.node.deeds.failmigrate import failmigrate
from vafnebula.node.deeds.ln import ln
from vafnebula.node.deeds.postmigrate import postmigrate
from vafnebula.node.deeds.premigrate import premigrate
from vafnebula.node.deeds.snap_create import snap_create

TO = (VM, -1, 1, 0)


def place(node: Node) -> Place:
    return Place("", 1, test_mv.old_disk(node).directory, "", "", 1)


def running(node: Node) -> Premigrate:
    """A VM with a disk and a CD-ROM in the other datastore."""
    test_mv.old(node, size=2 * EXTENT)
    cdrom = DiskRef(VM, 1, 0, 1, test_mv.old_disk(node).directory)
    ln(node.host(), Link(cdrom, node.image(), 0, True), node.settings)
    return Premigrate(*TO, node.disk().directory, place(node))


def volumes_are_there(node: Node) -> None:
    """Zeros for libvirt to overwrite, and the CD-ROM, which it cannot write."""
    found = node.volumes()
    assert found["lv-one-7-0"].size == 2 * EXTENT
    assert found["lv-one-7-0"].kind == ("thin" if node.mode == "thin" else "linear")
    assert node.disk_holds(b"")
    assert found["lv-one-7-1"].readonly
    assert node.disk_holds(node.image_content(), node.disk(disk=1))
    assert not [n for n, lv in found.items() if names.PARTIAL in lv.tags]


def source_as_it_was(node: Node, before: Picture) -> None:
    nothing_left(node, before)
    assert test_mv.content(node).startswith(test_mv.WORK)


@matrix([running])
def test_premigrate_stopped_at_any_step(make_node: NodeMaker, start: object, mode: str, kind: str) -> None:
    survives(Case(premigrate, start, volumes_are_there, source_as_it_was), make_node, mode, kind)  # type: ignore[arg-type]


def copied(node: Node) -> Postmigrate:
    premigrate(node.host(), running(node), node.settings)
    return Postmigrate(*TO, node.disk().directory, place(node))


def test_postmigrate_removes_the_source(node: Node) -> None:
    request = copied(node)
    postmigrate(node.host(), request, node.settings)
    assert [n for n in node.volumes(test_mv.OLD) if n.startswith("lv-one")] == []
    assert not os.path.lexists(test_mv.old_disk(node).directory)
    assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-1"]
    postmigrate(node.host(), request, node.settings)


def test_postmigrate_keeps_a_source_that_is_not_here(node: Node) -> None:
    request = copied(node)
    with node.lvm.metadata() as vgs:
        vgs["vg-one-0"].lvs["lv-one-7-1"].tags.add(names.PARTIAL)
    with pytest.raises(errors.NotCopied, match="lv-one-7-1"):
        postmigrate(node.host(), request, node.settings)
    assert test_mv.content(node).startswith(test_mv.WORK)


def test_failmigrate_removes_what_was_made_and_nothing_else(node: Node) -> None:
    copied(node)
    request = Failmigrate(*TO, node.disk().directory)
    for _ in range(2):
        failmigrate(node.host(), request, node.settings)
        assert node.disk_volumes() == []
        assert not os.path.lexists(node.disk().directory)
        assert test_mv.content(node).startswith(test_mv.WORK)
        assert Path(test_mv.old_disk(node).directory, "checkpoint").exists()


def test_failmigrate_leaves_another_history_records_disks_alone(node: Node) -> None:
    copied(node)
    failmigrate(node.host(), Failmigrate(VM, -1, 2, 0, node.disk().directory), node.settings)
    assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-1"]


def test_disk_snapshots_go_ahead_of_their_disk(thin: Node) -> None:
    request = running(thin)
    snap_create(thin.host(), SnapCreate(test_mv.old_disk(thin), 5), thin.settings)
    held = test_mv.content(thin)
    with thin.lvm.file(test_mv.OLD, "lv-one-7-0").open("r+b") as f:
        f.write(b"the guest goes on")
    premigrate(thin.host(), request, thin.settings)
    assert thin.volume_holds("lv-one-7-0-s5", held.rstrip(b"\0"))
    assert thin.volumes()["lv-one-7-0-s5"].readonly
    volumes_are_there(thin)
    postmigrate(thin.host(), Postmigrate(*TO, thin.disk().directory, place(thin)), thin.settings)
    assert [n for n in thin.volumes(test_mv.OLD) if n.startswith("lv-one")] == []

from __future__ import annotations

import pytest

from tests.fakes.host import FakeHost
from tests.fakes.lvm import EXTENT
from tests.fakes.node import VG, Node
from vafnebula import config, errors
from vafnebula.node import guard, lvm
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.snap_create import snap_create
from vafnebula.node.probes import disks

DISK = "lv-one-7-0"


@pytest.fixture
def near(thick: Node) -> Node:
    """A disk whose snapshot has used most of its room."""
    thick.settings = thick.with_settings(cow_percent=50)
    clone(thick.host(), thick.clone(size=4 * EXTENT), thick.settings)
    thick.change(DISK, percent=85.0)
    return thick


def watch(node: Node, host: FakeHost | None = None) -> dict[str, str]:
    return guard.watch(host or node.host(), node.settings, lvm.group(node.host(), VG))


def test_the_probe_of_disks_gives_it_room(near: Node) -> None:
    before = near.volumes()[DISK].room
    assert disks.disks(near.host(), config.Site(default=near.settings)).startswith("VM = [ ID = 7, ")
    assert near.volumes()[DISK].room > before
    assert near.volumes()[DISK].percent < guard.NEAR


def test_one_without_room_is_reported(near: Node) -> None:
    near.occupy(0)
    assert watch(near) == {DISK: "full"}


def test_one_that_overflowed_is_reported_and_left(near: Node) -> None:
    near.change(DISK, overflowed=True)
    before = near.picture()
    assert watch(near) == {DISK: "overflowed"}
    assert near.picture() == before


def test_others_are_left_alone(near: Node) -> None:
    near.change(DISK, percent=79.0)
    clone(near.host(), near.clone(8, size=4 * EXTENT), near.settings)
    near.change("lv-one-8-0", percent=99.0, tags=set())
    host = near.host()
    assert watch(near, host) == {}
    assert host.changes == []


def test_where_none_can_overflow_nothing_is_looked_at(node: Node) -> None:
    host = node.host()
    assert watch(node, host) == {}
    assert host.commands == []


def test_metadata_that_lvm_finds_too_full(thin: Node) -> None:
    """There is room for data, so the sentence is about the metadata; also for a fill."""
    clone(thin.host(), thin.clone(), thin.settings)
    with thin.lvm.metadata() as vgs:
        vgs[VG].metadata = 97.0
    settings = thin.with_settings(metadata_limit=99)
    for deed, request in (
        (clone, thin.clone(8)),
        (clone, thin.clone(9, name="other")),
        (snap_create, thin.snap_create()),
    ):
        with pytest.raises(errors.NoMetadata, match="97 % full"):
            deed(thin.host(), request, settings)  # type: ignore[operator]
    assert thin.disk_volumes() == [DISK]

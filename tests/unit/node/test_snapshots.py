from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.lvm import EXTENT, cow_needs
from tests.fakes.node import VG, Node
from vafnebula.model import Settings
from vafnebula.node import lvm, snapshots

CHUNKS = [4096 << n for n in range(8)]


@given(size=st.integers(1, 1 << 44), chunk=st.sampled_from(CHUNKS))
def test_with_full_room_no_snapshot_can_overflow(size: int, chunk: int) -> None:
    room = snapshots.cow_room(size, Settings(cow_percent=100, cow_chunk=chunk))
    assert room >= cow_needs(lvm.in_extents(size), chunk)
    assert room % EXTENT == 0


@given(size=st.integers(1, 1 << 44), chunk=st.sampled_from(CHUNKS), percent=st.integers(5, 99))
def test_with_less_room_the_wanted_part_of_the_disk_can_change(size: int, chunk: int, percent: int) -> None:
    room = snapshots.cow_room(size, Settings(cow_percent=percent, cow_chunk=chunk))
    assert room >= cow_needs(lvm.in_extents(size) * percent // 100, chunk)
    assert room <= snapshots.cow_room(size, Settings(cow_percent=100, cow_chunk=chunk))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_read_only_snapshot_needs_room_for_nothing_but_its_header(chunk: int) -> None:
    assert snapshots.cow_room(0, Settings(cow_chunk=chunk)) == EXTENT


def test_an_empty_disk_reads_zeros_in_either_mode(node: Node) -> None:
    snapshots.of_zeros(node.host(), node.settings, node.disk(), 2 * EXTENT, [])
    assert node.volume_holds("lv-one-7-0", b"")


@pytest.mark.parametrize(("old", "new", "extents"), [(1, 2, 1), (EXTENT, EXTENT + 1, 2), (EXTENT + 1, 2 * EXTENT, 2)])
def test_a_disk_grows_only_when_its_last_extent_is_not_enough(thin: Node, old: int, new: int, extents: int) -> None:
    snapshots.of_zeros(thin.host(), thin.settings, thin.disk(), lvm.in_extents(old), [])
    host = thin.host()
    snapshots.grow(host, thin.disk(), old, new)
    assert thin.volumes()["lv-one-7-0"].size == extents * EXTENT
    assert len(host.commands) == (lvm.in_extents(new) > lvm.in_extents(old))


def test_the_settings_decide_how_a_snapshot_is_made(node: Node) -> None:
    lvm_of = {"thin": "thin", "thick": "snapshot"}[node.mode]
    settings = replace(node.settings, cow_chunk=8192)
    snapshots.of_zeros(node.host(), settings, node.disk(), EXTENT, ["a"])
    volume = node.volumes(VG)["lv-one-7-0"]
    assert (volume.kind, volume.tags) == (lvm_of, {"a"})
    assert volume.chunk == {"thin": 0, "thick": 8192}[node.mode]

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.fakes.host import signature
from tests.fakes.lvm import EXTENT, cow_needs
from tests.fakes.node import Node, NodeMaker
from tests.unit.node.steps import Case, killed, matrix, survives
from vafnebula import errors, units
from vafnebula.model import MakeImage
from vafnebula.node.deeds.mkimage import MAKERS, mkimage


def is_scratch(node: Node) -> None:
    assert node.disk_volumes() == ["lv-one-7-0"]
    assert node.disk_holds(signature("mkfs.ext4", "scratch"))
    assert node.volumes()["lv-one-7-0"].size == 2 * EXTENT
    assert os.readlink(node.disk().link) == node.disk().device


def nothing(node: Node) -> MakeImage:
    return node.scratch()


def unpublished(node: Node) -> MakeImage:
    killed(mkimage, node, node.scratch(), "mkfs.ext4")
    return node.scratch()


def older(node: Node) -> MakeImage:
    mkimage(node.host(), node.scratch(filesystem=""), node.settings)
    node.write_disk("lv-one-7-0", b"files of the older VM, longer than a signature")
    return node.scratch(seq=1)


@matrix([nothing], [unpublished, older])
def test_stopped_at_any_step_leaves_nothing_and_succeeds_when_repeated(
    make_node: NodeMaker, start: Callable[[Node], MakeImage], mode: str, kind: str
) -> None:
    survives(Case(mkimage, start, is_scratch), make_node, mode, kind)


@pytest.mark.parametrize("filesystem", MAKERS)
def test_a_file_system_is_one_lvm_command_and_one_mkfs(node: Node, filesystem: str) -> None:
    host = node.host()
    mkimage(host, node.scratch(filesystem, MAKERS[filesystem][0]), node.with_settings(cow_percent=5))
    assert [command[0] for command in host.commands] == ["lvcreate"]
    assert [argv[0] for argv in host.formats] == [f"mkfs.{filesystem}"]


@pytest.mark.parametrize("filesystem", MAKERS)
def test_a_disk_too_small_for_its_file_system_is_refused_before_anything_is_done(node: Node, filesystem: str) -> None:
    host, least = node.host(), MAKERS[filesystem][0]
    with pytest.raises(errors.TooSmall, match=f"at least {least // units.MIB} MB"):
        mkimage(host, node.scratch(filesystem, least - 1), node.settings)
    assert host.steps == []


@pytest.mark.parametrize("filesystem", ["btrfs", "xfs -f /dev/sda", "../ext4", "XFS"])
def test_an_unknown_file_system_is_refused_before_anything_is_done(node: Node, filesystem: str) -> None:
    host = node.host()
    with pytest.raises(errors.BadArgument, match="xfs, ext4"):
        mkimage(host, node.scratch(filesystem), node.settings)
    assert host.steps == []


def test_a_raw_disk_is_empty_and_needs_no_mkfs(node: Node) -> None:
    host = node.host()
    mkimage(host, node.scratch(filesystem="", size=1), node.settings)
    assert host.formats == []
    assert node.disk_holds(b"")
    assert node.volumes()["lv-one-7-0"].size == EXTENT


def test_a_thick_disk_has_room_for_all_its_changes_by_default_and_less_if_so_decided(thick: Node) -> None:
    mkimage(thick.host(), thick.scratch(size=20 * EXTENT), thick.settings)
    volume = thick.volumes()["lv-one-7-0"]
    assert volume.room >= cow_needs(volume.size, volume.chunk)
    mkimage(thick.host(), thick.scratch(size=20 * EXTENT, seq=1), thick.with_settings(cow_percent=10))
    assert thick.volumes()["lv-one-7-0"].room < 20 * EXTENT // 5

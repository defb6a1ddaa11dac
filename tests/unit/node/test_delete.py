from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from tests.fakes.host import Fault, Killed
from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import VG, Node, NodeMaker
from tests.unit.node.steps import Case, matrix, survives
from vafnebula import errors
from vafnebula.model import Delete
from vafnebula.node import lock
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.delete import delete
from vafnebula.node.deeds.mkimage import mkimage
from vafnebula.node.deeds.mkswap import mkswap


def no_trace(node: Node) -> None:
    assert [n for n in node.disk_volumes() if n.startswith("lv-one-7-")] == []
    assert not os.path.lexists(node.disk().link)
    assert "lv-one-71-0" not in node.disk_volumes() or node.disk_holds(node.image_content(), node.disk(71))


def no_directory(node: Node) -> None:
    no_trace(node)
    assert not os.path.exists(node.disk().directory)


def finished(node: Node) -> None:
    clone(node.host(), node.clone(71), node.settings)
    clone(node.host(), node.clone(), node.settings)


def half_made(node: Node) -> None:
    with pytest.raises(Killed):
        mkswap(node.host(Fault("mkswap", "kill")), node.swap(), node.settings)


def link_gone(node: Node) -> None:
    finished(node)
    os.unlink(node.disk().link)


def volume_gone(node: Node) -> None:
    os.makedirs(node.disk().directory)
    os.symlink(node.disk().device, node.disk().link)


def nothing(node: Node) -> None:
    pass


@matrix([finished, half_made], [link_gone, volume_gone, nothing])
@pytest.mark.parametrize(("disk", "check"), [(0, no_trace), (-1, no_directory)])
def test_stopped_at_any_step_can_be_repeated(
    make_node: NodeMaker,
    disk: int,
    check: Callable[[Node], None],
    start: Callable[[Node], None],
    mode: str,
    kind: str,
) -> None:
    def prepare(node: Node) -> Delete:
        start(node)
        return node.delete(disk)

    survives(Case(delete, prepare, check), make_node, mode, kind)


@pytest.mark.parametrize("disk", [0, -1])
def test_a_delete_is_one_lvm_command_however_many_volumes_there_are(node: Node, disk: int) -> None:
    finished(node)
    with node.lvm.metadata() as vgs:
        vgs[VG].lvs |= {f"other-{n}": Lv(f"other-{n}", EXTENT, "foreign", active=False) for n in range(1000)}
    host = node.host()
    delete(host, node.delete(disk), node.settings)
    assert [command[0] for command in host.commands] == ["lvremove"]


def test_the_directory_goes_with_every_disk_of_the_vm_and_of_no_other(node: Node) -> None:
    finished(node)
    for number in (1, 12):
        request = replace(node.scratch(filesystem="", size=1), disk=node.disk(disk=number))
        mkimage(node.host(), request, node.settings)
    Path(node.disk().directory, "deployment.0").write_text("<domain/>")
    delete(node.host(), node.delete(-1), node.settings)
    no_directory(node)
    assert node.disk_volumes() == ["lv-one-71-0"]


def test_one_disk_goes_alone(node: Node) -> None:
    finished(node)
    mkswap(node.host(), replace(node.swap(), disk=node.disk(disk=1)), node.settings)
    delete(node.host(), node.delete(0), node.settings)
    assert node.disk_volumes() == ["lv-one-7-1", "lv-one-71-0"]
    assert os.listdir(node.disk().directory) == ["disk.1"]


@pytest.mark.parametrize("disk", [0, -1])
def test_a_strangers_volume_stays(node: Node, disk: int) -> None:
    node.lvm.add(VG, Lv("lv-one-7-0", EXTENT, "linear"))
    delete(node.host(), node.delete(disk), node.settings)
    assert node.disk_volumes() == ["lv-one-7-0"]


@pytest.mark.parametrize("disk", [0, -1])
def test_a_node_that_has_no_such_vg_has_nothing_to_delete(node: Node, disk: int) -> None:
    request = Delete(7, disk, 5, str(node.root / "ds/5/7"))
    delete(node.host(), request, node.settings)


@pytest.mark.parametrize("disk", [0, -1])
def test_a_volume_in_use_is_reported_and_the_link_stays(node: Node, disk: int, mocker: MockerFixture) -> None:
    finished(node)
    mocker.patch("time.sleep")
    node.change("lv-one-7-0", opened=True)
    with pytest.raises(errors.Busy, match=r"lv-one-7-0.*in use"):
        delete(node.host(), node.delete(disk), node.settings)
    assert os.path.lexists(node.disk().link)


def test_a_link_in_place_of_the_directory_is_not_followed(node: Node) -> None:
    treasure = node.root / "treasure"
    treasure.mkdir()
    (treasure / "file").write_text("precious")
    os.symlink(treasure, node.disk().directory)
    with pytest.raises(errors.NotOurs, match="in place of a VM directory"):
        delete(node.host(), node.delete(-1), node.settings)
    assert (treasure / "file").exists()


def test_links_in_the_directory_are_removed_and_not_followed(node: Node) -> None:
    treasure = node.root / "treasure"
    treasure.mkdir()
    (treasure / "file").write_text("precious")
    os.makedirs(node.disk().directory)
    os.symlink(treasure, f"{node.disk().directory}/disk.9")
    delete(node.host(), node.delete(-1), node.settings)
    no_directory(node)
    assert (treasure / "file").exists()


@pytest.mark.parametrize("directory", ["", "/", "7", "/ds/0/8", "/ds/1/7", "/ds/0/7/..", "/ds//0/7", "/0/7", "//0/7"])
@pytest.mark.parametrize("disk", [0, -1])
def test_a_directory_that_is_not_the_vms_is_refused(node: Node, directory: str, disk: int) -> None:
    host = node.host()
    with pytest.raises(errors.BadArgument):
        delete(host, Delete(7, disk, 0, directory), node.settings)
    assert host.steps == []


def test_an_action_on_another_disk_of_the_vm_does_not_delay_the_delete_of_a_disk(node: Node) -> None:
    finished(node)
    with (
        lock.hold(node.settings.lock_dir, "vm-7", "", wait=0, shared=True),
        lock.hold(node.settings.lock_dir, "disk-7-1", "mkswap of disk 1 of VM 7", wait=0),
    ):
        delete(node.host(), node.delete(0), node.settings)
        with pytest.raises(errors.Busy):
            delete(node.host(), node.delete(-1), node.settings)

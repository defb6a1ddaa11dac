from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import VG, Node
from vafnebula import errors, names
from vafnebula.model_moves import Activate
from vafnebula.node.deeds.activate import activate
from vafnebula.node.deeds.clone import clone


def boot(node: Node) -> Activate:
    """Two disks; the node was rebooted: nothing is active, and all links are lost."""
    for vm in (7, 8):
        clone(node.host(), node.clone(vm), node.settings)
        os.unlink(node.disk(vm).link)
    with node.lvm.metadata() as vgs:
        for lv in vgs[VG].lvs.values():
            if lv.name.startswith("lv-one"):
                lv.active = False
                node.lvm._hide(VG, lv)
    return Activate(-1, -1, str(node.root / "ds"))


def test_links_and_devices_are_back(node: Node) -> None:
    request = boot(node)
    assert activate(node.host(), request, node.settings) == {"disks": 2, "mended": 2}
    for vm in (7, 8):
        assert node.disk_holds(node.image_content(), node.disk(vm))
    host = node.host()
    assert activate(host, request, node.settings) == {"disks": 2, "mended": 0}
    assert host.changes == []


def test_a_prolog_that_is_repeated_does_not_take_such_a_disk_for_finished(node: Node) -> None:
    """The crash may have come before the disk was ready: only a PROLOG's own link is proof."""
    activate(node.host(), boot(node), node.settings)
    assert clone(node.host(), node.clone(), node.settings)["result"] == "made"
    assert clone(node.host(), node.clone(), node.settings)["result"] == "there"


@pytest.mark.parametrize("wrong", ["partial", "stranger", "file", "overflowed"])
def test_what_is_not_a_good_disk_is_left_alone_and_the_others_are_mended(node: Node, wrong: str) -> None:
    request = boot(node)
    if wrong == "partial":
        node.tag("lv-one-7-0", names.PARTIAL)
    elif wrong == "stranger":
        node.lvm.add(VG, Lv("lv-one-9-0", EXTENT, "linear", tags={"vaf.vm=9", "vaf.disk=0"}))
    elif wrong == "overflowed":
        node.change("lv-one-7-0", overflowed=True, active=True)
    else:
        Path(node.disk().link).write_text("somebody's")
    activate(node.host(), request, node.settings)
    assert node.disk_holds(node.image_content(), node.disk(8))
    assert not os.path.islink(node.disk(9).link)
    if wrong != "stranger":
        assert not os.path.islink(node.disk().link)


def test_a_relative_path_is_refused(node: Node) -> None:
    with pytest.raises(errors.BadArgument):
        activate(node.host(), Activate(-1, -1, "ds"), node.settings)

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.fakes.node import Node, NodeMaker
from tests.unit.node.steps import FAULTS, MODES, Case, killed, survives
from vafnebula import names
from vafnebula.model import Clone
from vafnebula.node.deeds.clone import clone


def is_cloned(node: Node) -> None:
    """Disk 0 is a published, writable snapshot of the one complete origin, and holds the image and then zeros."""
    volumes = node.volumes()
    [origin] = node.origins()
    [disk] = [v for v in volumes.values() if "vaf.disk=0" in v.tags and f"vaf.vm={node.disk().vm}" in v.tags]
    assert (disk.name, disk.origin, disk.readonly, disk.active) == ("lv-one-7-0", origin, False, True)
    assert not any(name.startswith(names.FILL_PREFIX) for name in volumes)
    assert volumes[origin].readonly
    assert volumes[origin].skip
    assert names.COMPLETE in volumes[origin].tags
    assert not any(tag.startswith("vaf.reserve") for tag in volumes[origin].tags)
    assert volumes[origin].active is (node.mode == "thick")  # a classic snapshot activates its origin
    assert node.disk_holds(node.image_content())
    assert os.readlink(node.disk().link) == node.disk().device
    assert os.listdir(node.disk().directory) == ["disk.0"]


def cold(node: Node) -> Clone:
    return node.clone()


def warm(node: Node) -> Clone:
    clone(node.host(), node.clone(8), node.settings)
    return node.clone()


def half_filled(node: Node) -> Clone:
    killed(clone, node, node.clone(), "copy dd")
    return node.clone()


def filled_not_renamed(node: Node) -> Clone:
    killed(clone, node, node.clone(), 7)
    [fill] = [v for v in node.volumes().values() if v.name.startswith(names.FILL_PREFIX)]
    assert names.COMPLETE in fill.tags
    return node.clone()


def unpublished(node: Node) -> Clone:
    warm(node)
    killed(clone, node, node.clone(), "lvm lvcreate")
    assert "lv-one-7-0" in node.volumes()
    assert not os.path.lexists(node.disk().link)
    return node.clone()


def older(node: Node) -> Clone:
    clone(node.host(), node.clone(), node.settings)
    node.write_disk("lv-one-7-0", b"what the older VM wrote")
    return node.clone(seq=1)


def dangling(node: Node) -> Clone:
    warm(node)
    os.makedirs(node.disk().directory)
    os.symlink("/nowhere", node.disk().link)
    return node.clone()


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("start", [cold, warm, half_filled, filled_not_renamed, unpublished, older, dangling])
def test_stopped_at_any_step_leaves_nothing_and_succeeds_when_repeated(
    make_node: NodeMaker, start: Callable[[Node], Clone], mode: str, kind: str
) -> None:
    survives(Case(clone, start, is_cloned), make_node, mode, kind)

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.lvm import EXTENT
from tests.fakes.node import IMAGE, Node, NodeMaker, Picture
from tests.unit.node.steps import FAULTS, MODES, Case, survives
from vafnebula import errors, process
from vafnebula.model_points import Restore
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.restore import restore
from vafnebula.node.deeds.snap_create import snap_create

WORK = b"what the backup does not have"


def fetched(node: Node) -> Restore:
    """The image as it was is what the backup holds, and the front-end has brought it."""
    clone(node.host(), node.clone(), node.settings)
    node.write_disk("lv-one-7-0", WORK)
    staging = Path(f"{node.disk().directory}/.restore")
    staging.mkdir()
    process.run(["qemu-img", "convert", "-O", "qcow2", node.image().path, f"{staging}/disk.0"], timeout=60)
    return node.restore(0)


def is_restored(node: Node) -> None:
    assert node.disk_volumes() == ["lv-one-7-0"]
    assert node.disk_holds(node.image_content())
    assert not os.path.exists(f"{node.disk().directory}/.restore")
    assert clone(node.host(), node.clone(), node.settings)["result"] == "there"


def either(node: Node, before: Picture) -> None:
    assert node.disk_volumes() == ["lv-one-7-0"]
    content = node.image_content()
    assert node.disk_holds(content) or node.disk_holds(WORK + content[len(WORK) :])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", FAULTS)
def test_stopped_at_any_step(make_node: NodeMaker, kind: str, mode: str) -> None:
    """The front-end brings the images again for every run."""

    def deed(host: object, request: Restore, settings: object) -> dict[str, object]:
        again = Path(f"{request.directory}/.restore")
        if not (again / "disk.0").exists():
            again.mkdir(exist_ok=True)
            image = Path(request.directory).parents[1] / "1/img"
            process.run(["qemu-img", "convert", "-O", "qcow2", str(image), f"{again}/disk.0"], timeout=60)
        return restore(host, request, settings)  # type: ignore[arg-type]

    survives(Case(deed, fetched, is_restored, either, settled=False, heals="remove_tree"), make_node, mode, kind)


def test_a_disk_that_is_larger_stays_as_large(node: Node) -> None:
    fetched(node)
    image = f"{node.disk().directory}/.restore/disk.0"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(3 * EXTENT)], timeout=60)
    restore(node.host(), node.restore(0), node.settings)
    assert node.disk_holds(b"")
    assert f"vaf.size={3 * EXTENT}" in node.volumes()["lv-one-7-0"].tags


def test_disk_snapshots_stay(thin: Node) -> None:
    request = fetched(thin)
    snap_create(thin.host(), thin.snap_create(), thin.settings)
    restore(thin.host(), request, thin.settings)
    assert thin.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-s0"]
    assert thin.volume_holds("lv-one-7-0-s0", WORK + thin.image_content()[len(WORK) :])


def test_all_disks_or_none(node: Node) -> None:
    """The second image is broken: the first disk is not replaced either."""
    request = fetched(node)
    clone(node.host(), replace(node.clone(), disk=node.disk(disk=1)), node.settings)
    Path(f"{request.directory}/.restore/disk.1").write_bytes(b"")
    before = node.picture().volumes
    with pytest.raises(errors.ImageUnusable):
        restore(node.host(), node.restore(0, 1), node.settings)
    assert node.picture().volumes == before
    assert not os.path.exists(f"{request.directory}/.restore")


def test_an_image_that_refers_to_another_file_is_refused(node: Node) -> None:
    request = fetched(node)
    image = f"{request.directory}/.restore/disk.0"
    process.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", "-u", image, "1M"], timeout=60
    )
    with pytest.raises(errors.ImageUnusable):
        restore(node.host(), request, node.settings)


def test_a_running_vm_is_not_restored(node: Node) -> None:
    request = fetched(node)
    node.change("lv-one-7-0", opened=True)
    with pytest.raises(errors.Busy, match="the VM still runs"):
        restore(node.host(), request, node.settings)


def test_without_disks_it_only_cleans_up(node: Node) -> None:
    fetched(node)
    host = node.host()
    assert restore(host, node.restore(), node.settings) == {"bytes": 0}
    assert host.commands == []
    assert not os.path.exists(f"{node.disk().directory}/.restore")


def test_how_much(node: Node) -> None:
    assert restore(node.host(), fetched(node), node.settings)["bytes"] >= 65536
    assert IMAGE > 65536

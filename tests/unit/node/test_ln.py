from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.host import Fault
from tests.fakes.lvm import EXTENT
from tests.fakes.node import IMAGE, VG, Node, NodeMaker
from tests.unit.node.steps import Case, killed, matrix, survives
from vafnebula import errors, process
from vafnebula.model import Image, Link
from vafnebula.node import disks
from vafnebula.node.deeds.ln import ln


def is_linked(node: Node) -> None:
    """Disk 0 is a published volume of its own, holds the image and then zeros, and reserves nothing any more."""
    assert node.disk_volumes() == ["lv-one-7-0"]
    assert node.origins() == []
    volume = node.volumes()["lv-one-7-0"]
    assert (volume.kind, volume.origin, volume.readonly) == ({"thin": "thin", "thick": "linear"}[node.mode], "", False)
    assert not any(tag.startswith("vaf.reserve") for tag in volume.tags)
    assert node.disk_holds(node.image_content())
    assert os.readlink(node.disk().link) == node.disk().device
    assert os.listdir(node.disk().directory) == ["disk.0"]


def is_cdrom(node: Node) -> None:
    """Disk 0 is a read-only snapshot of an origin."""
    assert node.disk_volumes() == ["lv-one-7-0"]
    volume = node.volumes()["lv-one-7-0"]
    assert (volume.origin, volume.readonly) == (node.origins()[0], True)
    assert node.disk_holds(node.image_content())


def nothing(node: Node) -> Link:
    return node.link()


def half_copied(node: Node) -> Link:
    killed(ln, node, node.link(), "copy dd")
    assert node.disk_volumes() == ["lv-one-7-0"]
    return node.link()


def older(node: Node) -> Link:
    ln(node.host(), node.link(), node.settings)
    node.write_disk("lv-one-7-0", b"what the older VM wrote")
    return node.link(seq=1)


def cdrom(node: Node) -> Link:
    return node.link(readonly=True)


def cached_cdrom(node: Node) -> Link:
    other = replace(node.link(readonly=True), disk=node.disk(8))
    ln(node.host(), other, node.settings)
    os.unlink(other.disk.link)
    with node.lvm.metadata() as vgs:
        del vgs[VG].lvs["lv-one-8-0"]
    return node.link(readonly=True)


@matrix([nothing], [half_copied, older])
def test_stopped_at_any_step_leaves_nothing_and_succeeds_when_repeated(
    make_node: NodeMaker, start: Callable[[Node], Link], mode: str, kind: str
) -> None:
    survives(Case(ln, start, is_linked), make_node, mode, kind)


@matrix([cdrom], [cached_cdrom])
def test_a_cdrom_stopped_at_any_step_leaves_nothing_and_succeeds_when_repeated(
    make_node: NodeMaker, start: Callable[[Node], Link], mode: str, kind: str
) -> None:
    survives(Case(ln, start, is_cdrom), make_node, mode, kind)


def test_a_finished_disk_is_not_copied_again_over_what_the_vm_wrote(node: Node) -> None:
    ln(node.host(), node.link(), node.settings)
    node.write_disk("lv-one-7-0", b"precious")
    host = node.host()
    assert ln(host, node.link(), node.settings) == {"result": "there", "cache": "none", "bytes": 0}
    assert Path(node.disk().link).read_bytes().startswith(b"precious")


def test_a_larger_disk_reads_zeros_behind_the_image(node: Node) -> None:
    ln(node.host(), node.link(size=3 * EXTENT), node.settings)
    assert node.disk_holds(node.image_content())
    assert node.volumes()["lv-one-7-0"].size == 3 * EXTENT


def test_a_disk_smaller_than_the_image_is_refused_before_anything_is_done(node: Node) -> None:
    host = node.host()
    with pytest.raises(errors.ImageTooLarge):
        ln(host, node.link(size=IMAGE - 1), node.settings)
    assert host.steps == []


def test_a_cdrom_has_the_size_of_its_image_and_two_vms_share_its_origin(node: Node) -> None:
    ln(node.host(), node.link(readonly=True, size=512), node.settings)
    facts = ln(node.host(), replace(node.link(readonly=True), disk=node.disk(8)), node.settings)
    assert facts["cache"] == "hit"
    assert len(node.origins()) == 1
    is_cdrom_of_8 = node.disk_holds(node.image_content(), node.disk(8))
    assert is_cdrom_of_8


def test_an_image_that_changes_while_it_is_copied_makes_no_disk(node: Node) -> None:
    request, before = node.link(), node.picture()
    host = node.host(Fault("copy dd", "call", lambda: Path(request.image.path).touch()))
    with pytest.raises(errors.ImageChanged):
        ln(host, request, node.settings)
    assert node.picture().volumes == before.volumes


def test_verify_finds_a_copy_that_is_not_equal(node: Node) -> None:
    host = node.host(Fault("copy cmp", "call", lambda: node.write_disk("lv-one-7-0", b"bit rot")))
    with pytest.raises(errors.CopyFailed, match="does not compare equal"):
        ln(host, node.link(), node.with_settings(verify=True))
    assert node.disk_volumes() == []


def test_a_copy_that_would_overfill_the_thin_pool_is_refused_before_anything_is_made(thin: Node) -> None:
    request, settings = thin.link(), thin.with_settings(pool_limit=100)
    thin.occupy(100_000)  # enough for the data, but not for the chunks it may lie in
    host, before = thin.host(), thin.picture()
    with pytest.raises(errors.NoRoom, match=r"196608 bytes wanted, \d{5,6} bytes free"):
        ln(host, request, settings)
    assert host.copies == []
    assert thin.picture() == before


def test_a_qcow2_image_remembers_its_format(node: Node) -> None:
    raw = node.image("raw", os.urandom(70_000).ljust(1 << 20, b"\0"))
    path = f"{raw.path}.any"
    process.run(["qemu-img", "convert", "-O", "qcow2", raw.path, path], timeout=60)
    ln(node.host(), replace(node.link(), image=Image(1, path)), node.settings)
    assert node.disk_holds(node.image_content("raw"))
    assert "vaf.format=qcow2" in node.volumes()["lv-one-7-0"].tags


def test_a_new_disk_makes_the_proof_of_an_older_save_void(node: Node) -> None:
    marker = Path(disks.saved_marker(node.disk()))
    marker.parent.mkdir()
    marker.write_text(node.link().image.path)
    ln(node.host(), node.link(), node.settings)
    assert not marker.exists()


def test_a_persistent_disk_costs_one_volume_and_two_looks(node: Node) -> None:
    host = node.host()
    ln(host, node.link(), node.settings)
    wanted = {"thin": ["lvs", "lvcreate", "lvchange"], "thick": ["lvcreate"]}
    assert [command[0] for command in host.commands] == wanted[node.mode]

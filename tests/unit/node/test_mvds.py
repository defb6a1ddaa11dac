from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.host import Fault
from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import IMAGE, VG, Node, NodeMaker, Picture
from tests.unit.node.steps import Case, killed, matrix, survives
from vafnebula import errors, process
from vafnebula.model import Image, Save
from vafnebula.node import disks, lvm
from vafnebula.node.deeds.ln import ln
from vafnebula.node.deeds.mvds import mvds

WORK = b"a day's work"


def worked_on(node: Node) -> Save:
    ln(node.host(), node.link(), node.settings)
    node.write_disk("lv-one-7-0", WORK)
    return node.save()


def half_saved(node: Node) -> Save:
    request = worked_on(node)
    killed(mvds, node, request, "copy dd")
    return request


def replaced_not_given_up(node: Node) -> Save:
    request = worked_on(node)
    killed(mvds, node, request, "write_file")
    return request


def given_up_not_unlinked(node: Node) -> Save:
    request = worked_on(node)
    killed(mvds, node, request, "lvm lvremove")
    return request


def inactive(node: Node) -> Save:
    request = worked_on(node)
    (node.root / "dev" / VG / "lv-one-7-0").unlink()
    return request


def is_saved(node: Node) -> None:
    assert node.image_content().startswith(WORK)
    assert len(node.image_content()) == IMAGE
    assert node.disk_volumes() == []
    assert not os.path.lexists(node.disk().link)
    assert os.listdir(node.root / "ds/1") == ["img"]


def never_lost(node: Node, before: Picture) -> None:
    """The image is whole, old or new, nothing is beside it, and what the VM wrote is in the volume or in the image."""
    content, saved = node.image_content(), node.image_content().startswith(WORK)
    assert len(content) == IMAGE
    assert saved or content.startswith(b"first sector")
    assert os.listdir(node.root / "ds/1") == ["img"]
    if not node.disk_volumes():
        assert saved
        assert Path(disks.saved_marker(node.disk())).read_text() == node.save().image.path


@matrix([worked_on], [half_saved, replaced_not_given_up, given_up_not_unlinked, inactive])
def test_stopped_at_any_step_loses_nothing_and_succeeds_when_repeated(
    make_node: NodeMaker, start: Callable[[Node], Save], mode: str, kind: str
) -> None:
    def left(node: Node, before: Picture) -> None:
        if start is not half_saved:  # what a dead run left beside the image is there until the next one
            never_lost(node, before)

    survives(Case(mvds, start, is_saved, left), make_node, mode, kind)


def test_a_save_tells_how_much(node: Node) -> None:
    request = worked_on(node)
    assert mvds(node.host(), request, node.settings) == {"result": "saved", "bytes": IMAGE}
    assert mvds(node.host(), request, node.settings) == {"result": "there", "bytes": 0}


def test_the_image_keeps_its_permissions(node: Node) -> None:
    request = worked_on(node)
    os.chmod(request.image.path, 0o640)
    mvds(node.host(), request, node.settings)
    assert os.stat(request.image.path).st_mode & 0o777 == 0o640


def test_a_disk_made_larger_is_saved_in_its_size(node: Node) -> None:
    ln(node.host(), node.link(size=EXTENT + 512), node.settings)
    mvds(node.host(), node.save(), node.settings)
    assert os.path.getsize(node.save().image.path) == EXTENT + 512


def test_zeros_become_holes(node: Node) -> None:
    ln(node.host(), node.link(size=2 * EXTENT), node.settings)
    mvds(node.host(), node.save(), node.settings)
    assert os.stat(node.save().image.path).st_blocks * 512 <= 2 << 20  # the two blocks that hold data


def test_a_save_that_does_not_compare_equal_keeps_image_and_volume(node: Node) -> None:
    request = worked_on(node)
    before = node.picture()
    fresh = Path(f"{request.image.path}.vaf-7-0")
    host = node.host(Fault("copy cmp", "call", lambda: fresh.write_bytes(b"bit rot")))
    with pytest.raises(errors.CopyFailed, match="does not compare equal"):
        mvds(host, request, node.settings)
    assert node.picture() == before


def test_a_volume_that_a_dead_run_removes_under_the_copy_is_saved(node: Node) -> None:
    """The lvremove of a run that was killed goes on: sudo closes the lock that would have made this run wait."""
    request = worked_on(node)
    killed(mvds, node, request, "write_file")
    dead = Fault("copy dd", "call", lambda: lvm.remove(node.host(), VG, lvm.by_disk(7, 0)))
    assert mvds(node.host(dead), request, node.settings) == {"result": "there", "bytes": 0}
    is_saved(node)


def test_a_volume_that_goes_under_a_copy_without_proof_is_not_saved(node: Node) -> None:
    request = worked_on(node)
    gone = Fault("copy dd", "call", lambda: lvm.remove(node.host(), VG, lvm.by_disk(7, 0)))
    with pytest.raises(errors.CopyFailed):
        mvds(node.host(gone), request, node.settings)
    assert node.image_content().startswith(b"first sector")


def test_a_volume_that_is_gone_without_proof_is_not_called_saved(node: Node) -> None:
    host = node.host()
    with pytest.raises(errors.NotFound, match="look for it on other nodes"):
        mvds(host, node.save(), node.settings)
    assert host.changes == []


def test_the_proof_of_another_image_proves_nothing(node: Node) -> None:
    mvds(node.host(), worked_on(node), node.settings)
    with pytest.raises(errors.NotFound):
        mvds(node.host(), replace(node.save(), image=Image(1, "/ds/1/another")), node.settings)


def test_an_image_that_is_gone_keeps_the_volume(node: Node) -> None:
    request = worked_on(node)
    os.unlink(request.image.path)
    before = node.picture()
    with pytest.raises(errors.ImageMissing):
        mvds(node.host(), request, node.settings)
    assert node.picture() == before


def test_a_strangers_volume_is_not_saved(node: Node) -> None:
    node.lvm.add(VG, Lv("lv-one-7-0", EXTENT, "linear"))
    host = node.host()
    with pytest.raises(errors.NotOurs):
        mvds(host, node.save(), node.settings)
    assert host.changes == []


def test_a_snapshot_that_overflowed_is_not_saved(node: Node) -> None:
    request = worked_on(node)
    node.change("lv-one-7-0", overflowed=True)
    with pytest.raises(errors.BrokenSnapshot):
        mvds(node.host(), request, node.settings)
    assert node.image_content().startswith(b"first sector")


def test_a_link_planted_beside_the_image_is_not_written_through(node: Node) -> None:
    request = worked_on(node)
    treasure = node.root / "treasure"
    treasure.write_text("precious")
    os.symlink(treasure, f"{request.image.path}.vaf-7-0")
    with pytest.raises((OSError, errors.Error)):
        mvds(node.host(), request, node.settings)
    assert treasure.read_text() == "precious"


def test_a_qcow2_image_stays_qcow2(node: Node) -> None:
    raw = node.image("raw", os.urandom(70_000).ljust(1 << 20, b"\0"))
    image = Image(1, f"{raw.path},any")  # a comma ends a value in qemu's option syntax
    process.run(["qemu-img", "convert", "-O", "qcow2", raw.path, image.path], timeout=60)
    ln(node.host(), replace(node.link(), image=image), node.settings)
    node.write_disk("lv-one-7-0", WORK)
    wanted = WORK + node.image_content("raw")[len(WORK) :]
    mvds(node.host(), replace(node.save(), image=image), node.settings)
    assert Path(image.path).read_bytes().startswith(b"QFI\xfb")
    process.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image.path, f"{raw.path}.back"], timeout=60)
    assert Path(f"{raw.path}.back").read_bytes() == wanted


def test_a_dead_runs_removal_that_gets_done_meanwhile(node: Node) -> None:
    """Its lvremove outlived it, and takes the volume away under the retry: saved is saved."""
    request = worked_on(node)
    killed(mvds, node, request, "write_file")
    os.unlink(node.root / "dev" / VG / "lv-one-7-0")  # deactivated, the metadata not written yet

    def removed() -> None:
        with node.lvm.metadata() as vgs:
            del vgs[VG].lvs["lv-one-7-0"]

    host = node.host(Fault("lvm lvchange", "call", removed))
    assert mvds(host, request, node.settings)["result"] == "there"
    is_saved(node)

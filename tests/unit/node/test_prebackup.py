from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.host import Fault
from tests.fakes.lvm import EXTENT
from tests.fakes.node import VG, Node, NodeMaker, Picture
from tests.unit.node.steps import FAULTS, MODES, Case, killed, survives
from vafnebula import errors, process
from vafnebula.model_points import PreBackup
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.delete import delete
from vafnebula.node.deeds.postbackup import postbackup
from vafnebula.node.deeds.prebackup import prebackup

WORK = b"a day's work"
LATE = b"a late night's"


def cloned(node: Node) -> PreBackup:
    clone(node.host(), node.clone(size=2 * EXTENT if node.mode == "thin" else 0), node.settings)
    node.write_disk("lv-one-7-0", WORK)
    return node.prebackup(live=False)


def incremental(node: Node) -> PreBackup:
    """A first backup was made and carried away; then the guest wrote, and wrote zeros over what was there."""
    cloned(node)
    prebackup(node.host(), node.prebackup(0, keep=True), node.settings)
    carried(node, 0)
    postbackup(node.host(), node.postbackup(), node.settings)
    node.write_disk("lv-one-7-0", bytes(65536))
    with node.lvm.file(VG, "lv-one-7-0").open("r+b") as f:
        f.seek(EXTENT + 65536)
        f.write(LATE)
    return node.prebackup(1, keep=True)


def carried(node: Node, increment: int) -> Path:
    """A backup datastore's driver takes the file away."""
    kept = node.root / f"kept.{increment}"
    shutil.copy(f"{node.disk().directory}/backup/disk.0.{increment}", kept)
    return kept


def content(node: Node) -> bytes:
    return node.lvm.file(VG, "lv-one-7-0").read_bytes()


def told(node: Node, *increments: int) -> bytes:
    """What OpenNebula's drivers make of a chain of backups."""
    files = [node.root / f"kept.{i}" for i in increments]
    for below, above in zip(files, files[1:]):
        process.run(["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", str(below), str(above)], timeout=60)
    flat = f"{files[-1]}.raw"
    process.run(["qemu-img", "convert", "-O", "raw", str(files[-1]), flat], timeout=60)
    return Path(flat).read_bytes()


def is_made(node: Node) -> None:
    assert sorted(os.listdir(f"{node.disk().directory}/backup")) == ["disk.0.0", "vm.xml"]
    carried(node, 0)
    wanted = content(node)
    made = told(node, 0)
    assert made == wanted[: len(made)]
    assert not wanted[len(made) :].strip(b"\0")
    assert node.disk_volumes() == ["lv-one-7-0"]


def is_incremented(node: Node) -> None:
    assert sorted(os.listdir(f"{node.disk().directory}/backup")) == ["disk.0.1", "vm.xml"]
    carried(node, 1)
    assert told(node, 0, 1) == content(node)
    assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-b0", "lv-one-7-0-b1"]
    with node.lvm.metadata() as vgs:
        assert not vgs[VG].metadata_snap


def only_the_base(node: Node, before: Picture) -> None:
    assert node.disk_volumes() == [n for n in sorted(before.volumes) if n.startswith("lv-one")]
    assert not os.path.exists(f"{node.disk().directory}/backup")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_full_one_stopped_at_any_step(make_node: NodeMaker, kind: str, mode: str) -> None:
    survives(Case(prebackup, cloned, is_made, only_the_base, settled=False), make_node, mode, kind)


@pytest.mark.parametrize("kind", ["fail", "kill"])
def test_an_increment_stopped_at_any_step(make_node: NodeMaker, kind: str) -> None:
    case = Case(prebackup, incremental, is_incremented, only_the_base, settled=False, heals="lvm dmsetup")
    survives(case, make_node, "thin", kind)


def test_an_increment_holds_what_changed(thin: Node) -> None:
    prebackup(thin.host(), incremental(thin), thin.settings)
    done = process.run(["qemu-img", "map", "--output=json", str(carried(thin, 1))], timeout=60)
    present = [(p["start"], p["length"], p["zero"]) for p in json.loads(done.out) if p["present"]]
    assert present == [(0, 65536, True), (EXTENT + 65536, 65536, False)]


def test_the_running_vm_does_not_change_the_backup(thin: Node) -> None:
    request = cloned(thin)
    before = content(thin)
    host = thin.host(Fault("copy qemu-img", "call", lambda: thin.write_disk("lv-one-7-0", LATE)))
    prebackup(host, replace(request, live=True), thin.settings)
    carried(thin, 0)
    assert told(thin, 0) == before


def test_a_chain(thin: Node) -> None:
    """Each increment's snapshot goes when OpenNebula has the next one."""
    incremental(thin)
    for increment in (1, 2, 3):
        thin.write_disk("lv-one-7-0", b"%d" % increment)
        prebackup(thin.host(), thin.prebackup(increment, keep=True), thin.settings)
        carried(thin, increment)
        postbackup(thin.host(), thin.postbackup(increment - 1), thin.settings)
        assert thin.disk_volumes()[1:] == [f"lv-one-7-0-b{increment - 1}", f"lv-one-7-0-b{increment}"]
    assert told(thin, 0, 1, 2, 3) == content(thin)


def test_a_backup_that_was_not_carried_away_is_repeated(thin: Node) -> None:
    request = incremental(thin)
    prebackup(thin.host(), request, thin.settings)
    postbackup(thin.host(), thin.postbackup(0), thin.settings)  # an OpenNebula that does not say so
    assert thin.disk_volumes()[1:] == ["lv-one-7-0-b0", "lv-one-7-0-b1"]
    thin.write_disk("lv-one-7-0", b"more")
    prebackup(thin.host(), request, thin.settings)
    is_incremented(thin)


def test_what_the_last_increment_left_is_not_here(thin: Node) -> None:
    cloned(thin)
    before = thin.picture()
    with pytest.raises(errors.NotFound, match="onevm backup --reset"):
        prebackup(thin.host(), thin.prebackup(4, keep=True), thin.settings)
    assert thin.picture() == before


def test_two_disks_are_frozen_before_one_is_copied(thin: Node) -> None:
    request = cloned(thin)
    clone(thin.host(), replace(thin.clone(), disk=thin.disk(disk=1)), thin.settings)
    host = thin.host()
    prebackup(host, replace(request, disks=[1, 0]), thin.settings)
    made = [i for i, step in enumerate(host.steps) if step == "lvm lvcreate"]
    assert len(made) == 2
    assert max(made) < host.steps.index("copy qemu-img")
    assert sorted(os.listdir(request.place)) == ["disk.0.0", "disk.1.0", "vm.xml"]


@pytest.mark.parametrize(("keep", "live"), [(True, False), (True, True), (False, True)])
def test_mode_thick_makes_full_ones_of_a_vm_that_is_off(thick: Node, keep: bool, live: bool) -> None:
    cloned(thick)
    before = thick.picture()
    with pytest.raises(errors.NeedsThin):
        prebackup(thick.host(), thick.prebackup(keep=keep, live=live), thick.settings)
    assert thick.picture() == before


def test_an_overflowed_disk_is_not_backed_up(thick: Node) -> None:
    request = cloned(thick)
    thick.change("lv-one-7-0", overflowed=True)
    with pytest.raises(errors.BrokenSnapshot):
        prebackup(thick.host(), request, thick.settings)


def test_a_stale_hold_on_the_metadata_is_let_go(thin: Node) -> None:
    request = incremental(thin)
    killed(prebackup, thin, request, "lvm dmsetup")
    with thin.lvm.metadata() as vgs:
        assert vgs[VG].metadata_snap
    prebackup(thin.host(), request, thin.settings)
    is_incremented(thin)


def test_without_the_sudo_rule(thin: Node) -> None:
    request = incremental(thin)
    with pytest.raises(errors.NoDelta, match="share/sudoers/vafnebula"):
        prebackup(thin.host(Fault("lvm dmsetup", "broken")), request, thin.settings)


def test_a_place_that_is_none_of_ours(thin: Node) -> None:
    request = cloned(thin)
    for place in ("/etc", "/7/backup", f"{request.place}/../backup", f"{thin.root}/8/backup", "/x/7/backup/"):
        with pytest.raises(errors.BadArgument):
            prebackup(thin.host(), replace(request, place=place), thin.settings)


def test_a_deleted_disk_leaves_nothing(thin: Node) -> None:
    prebackup(thin.host(), incremental(thin), thin.settings)
    delete(thin.host(), thin.delete(-1), thin.settings)
    assert thin.disk_volumes() == []
    assert not os.path.exists(thin.disk().directory)

"""Several actions at once: twins, crowds, a delete in the middle, and the same again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.test_guests import MODES, THICK, THIN, Site, content, eventually, holed, refusal, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import Disk, checked
from vafnebula.units import MIB


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with site_of(lab) as made:
        yield made


def bytes_served(lab: Lab) -> int:
    """How much GlusterFS's brick has read so far: what every reader of the datastore gets comes from there."""
    spaces = os.readlink(f"/proc/{lab.record.init}/ns/mnt")
    read = []
    for io in Path("/proc").glob("[0-9]*/io"):
        try:
            if (io.parent / "comm").read_text() == "glusterfsd\n" and os.readlink(io.parent / "ns/mnt") == spaces:
                read.append(int(re.findall(r"rchar: (\d+)", io.read_text())[0]))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    [brick] = read
    return brick


def alone(site: Site, sds: int) -> list[str]:
    """The volumes that no finished action leaves, and programs that still copy."""
    left = [n for n, row in site.volumes(sds).items() if "vaf-fill" in n or "vaf.reserve" in row["lv_tags"]]
    programs = site.sh("ps -u oneadmin -o comm=").split()
    return left + [name for name in programs if name in ("dd", "dd.real", "python3", "sudo", "qemu-img")]


@MODES
def test_two_of_each_give_one_good_disk(site: Site, sds: int) -> None:
    data = holed(f"twins-{sds}")
    image = site.image(f"twins-{sds}", data)
    disks = Disk(0, image=image), Disk(1, image=replace(image, persistent=True)), Disk(2, kind="swap", size=8 * MIB)
    vm = site.vm(sds, *disks)
    calls = [("clone", 0), ("ln", 1), ("mkswap", 2)]
    begun = [site.core.start(verb, vm.id, disk) for verb, disk in calls for _ in range(2)]
    for future in begun:
        checked(future.result(600))
    names = list(site.volumes(sds))
    assert sorted(n for n in names if n.startswith("lv-one-")) == [f"lv-one-{vm.id}-{n}" for n in range(3)]
    assert len([n for n in names if n.startswith("vaf-")]) == 1
    assert site.holds(vm, data)
    assert site.holds(vm, data, 1)
    assert site.sh('blkid -p -o value -s TYPE "$1"', site.link(vm, 2)) == "swap\n"
    assert alone(site, sds) == []


@pytest.mark.parametrize(("sds", "many"), [pytest.param(THIN, 16, id="thin"), pytest.param(THICK, 4, id="thick")])
def test_a_crowd_reads_the_image_once(site: Site, sds: int, many: int) -> None:
    data = content(f"crowd-{sds}", 8 * MIB)
    image = site.image(f"crowd-{sds}", data)
    vms = [site.of(sds, image) for _ in range(many)]
    before = bytes_served(site.lab)
    with site.counted() as calls:
        begun = [site.core.start("clone", vm.id, 0) for vm in vms]
        for future in begun:
            checked(future.result(600))
    served = bytes_served(site.lab) - before
    assert len(data) <= served < 1.5 * len(data)
    assert len([call for call in calls if call.startswith("lvrename 0")]) == 1, "one fill, one rename"
    assert site.all_hold(vms, data)


def test_what_is_cached_does_not_wait_for_another_fill(site: Site) -> None:
    """Nor does anything else but a clone of the same image."""
    cached, slow, other = (site.image(name, holed(name)) for name in ("cached", "slow", "other"))
    vm = site.vm(THIN, Disk(0, image=cached), Disk(1, image=cached), Disk(2, image=other), Disk(3, size=8 * MIB))
    site.act("clone", vm, 0)
    patient, second = site.of(THIN, slow), site.of(THIN, slow)
    with site.held(slow) as half:
        running = site.core.start("clone", patient.id, 0)
        half()
        waiting = site.core.start("clone", second.id, 0)
        for verb, disk in (("clone", 1), ("clone", 2), ("mkimage", 3), ("delete", 0)):
            site.act(verb, vm, disk)
        assert not running.done(), "the fill did not take longer than all the others"
        assert not waiting.done(), "a disk of an image that is not complete"
    checked(running.result(600))
    checked(waiting.result(600))
    assert site.all_hold([patient, second], holed("slow"))
    assert site.holds(vm, holed("cached"), 1)
    assert site.holds(vm, holed("other"), 2)


@pytest.mark.parametrize(("verb", "sds", "disk"), [("clone", THIN, 0), ("clone", THICK, -1), ("ln", THIN, -1)])
def test_a_delete_during_a_copy_leaves_nothing(site: Site, verb: str, sds: int, disk: int) -> None:
    data = holed(f"{verb}-{sds}")
    image = site.image(f"{verb}-{sds}", data, persistent=verb == "ln")
    vm, other = site.of(sds, image), site.of(sds, image)
    before = set(site.volumes(sds))
    with site.unchanged(counters=False), site.held(image) as half:
        running = site.core.start(verb, vm.id, 0)
        half()
        assert set(site.volumes(sds)) > before
        site.act("delete", vm, disk)
        line = refusal(running.result(60))
        assert "interrupted" in line
        eventually(lambda: alone(site, sds) == [], "the end of all programs")
        assert set(site.volumes(sds)) == before
    site.act(verb, other)
    site.act(verb, vm)
    assert site.all_hold([vm, other], data)


def test_a_waiter_takes_over_from_a_clone_that_was_deleted(site: Site) -> None:
    data = holed("heir")
    image = site.image("heir", data)
    vm, heir = site.of(THIN, image), site.of(THIN, image)
    with site.held(image) as half:
        running = site.core.start("clone", vm.id, 0)
        half()
        waiting = site.core.start("clone", heir.id, 0)
        site.act("delete", vm, -1)
        refusal(running.result(60))
    checked(waiting.result(600))
    assert site.holds(heir, data)
    assert f"lv-one-{vm.id}-0" not in site.volumes(THIN)


MADE = [("clone", 0), ("ln", 1), ("mkswap", 2), ("mkimage", 3)]
GONE = [("mvds", 1), ("delete", 0)]


@pytest.mark.parametrize(
    ("sds", "rounds"),
    [pytest.param(THIN, [MADE, GONE], id="thin"), pytest.param(THICK, [[MADE[0], MADE[3]], GONE[1:]], id="thick")],
)
def test_the_same_again_changes_nothing(site: Site, sds: int, rounds: list[list[tuple[str, int]]]) -> None:
    image = site.image(f"again-{sds}", holed(f"again-{sds}"))
    persistent = replace(image, persistent=True)
    disks = Disk(0, image=image), Disk(1, image=persistent), Disk(2, kind="swap", size=8 * MIB), Disk(3, size=8 * MIB)
    vm = site.vm(sds, *disks)
    for actions in rounds:
        for verb, disk in actions:
            site.act(verb, vm, disk)
        with site.unchanged(), site.counted() as calls:
            for verb, disk in actions:
                site.act(verb, vm, disk)
        looked = [call for call in calls if call.startswith("lvs 0 ")]
        assert len(looked) >= len([verb for verb, _ in actions if verb != "delete"])
        # a delete finds and removes with one command
        removals = [call.split()[0] for call in calls if call not in looked]
        assert removals == ["lvremove" for verb, _ in actions if verb == "delete"]

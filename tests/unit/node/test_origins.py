"""What an admin asks about origins: warm, pin, evict, scrub, settle; and relink of a disk."""

from __future__ import annotations

import os
from functools import partial

import pytest

from tests.fakes.host import Fault, Killed
from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import VG, Node, NodeMaker, Picture
from tests.unit.node.steps import FAULTS, MODES, Case, killed, survives
from vafnebula import errors, names
from vafnebula.model import Clone, Image
from vafnebula.model_admin import Evict, Inspect, Pin, Relink, Scrub, Settle, Survey, Warm
from vafnebula.node import lock, room
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.delete import delete
from vafnebula.node.deeds.evict import evict
from vafnebula.node.deeds.inspect import SUDO, inspect
from vafnebula.node.deeds.pin import pin
from vafnebula.node.deeds.relink import relink
from vafnebula.node.deeds.scrub import scrub
from vafnebula.node.deeds.settle import settle
from vafnebula.node.deeds.survey import survey
from vafnebula.node.deeds.warm import warm
from vafnebula.node.host import Host


def warmed(node: Node, name: str = "img", pinned: bool = False) -> str:
    """The key of an origin that was made by warm."""
    facts = warm(node.host(), Warm(0, node.image(name), 0, pinned), node.settings)
    assert facts["cache"] == "miss"
    return str(facts["origin"])


def root(node: Node) -> str:
    return str(node.root / "ds")


def test_a_warm_image_costs_the_first_clone_nothing(node: Node) -> None:
    key = warmed(node)
    assert key == node.key()
    host = node.host()
    assert clone(host, node.clone(), node.settings)["cache"] == "hit"
    assert host.read == {}
    assert node.disk_holds(node.image_content())
    again = warm(node.host(), Warm(0, node.image(), 0, False), node.settings)
    assert (again["cache"], again["bytes"]) == ("hit", 0)


def test_a_thick_origin_is_warmed_for_a_size_of_disk(thick: Node) -> None:
    warm(thick.host(), Warm(0, thick.image(), 3 * EXTENT, False), thick.settings)
    request = Clone(thick.disk(), thick.image(), 3 * EXTENT)
    assert clone(thick.host(), request, thick.settings)["cache"] == "hit"


def test_warm_and_pinned_stays_when_room_is_short(node: Node) -> None:
    key = warmed(node, pinned=True)
    node.age(10_000)
    with pytest.raises(errors.Busy, match="it is pinned"):
        evict(node.host(), Evict(0, key), node.settings)
    assert node.origins() == [names.ORIGIN_PREFIX + key]


@pytest.mark.parametrize("pinned", [True, False])
def test_pinning_twice_is_fine(node: Node, pinned: bool) -> None:
    key = warmed(node, pinned=not pinned)
    for _ in range(2):
        pin(node.host(), Pin(0, key, pinned), node.settings)
    assert (names.PINNED in node.volumes()[names.ORIGIN_PREFIX + key].tags) == pinned


def test_an_admin_may_evict_what_is_young(node: Node) -> None:
    key = warmed(node)
    assert evict(node.host(), Evict(0, key), node.settings)["result"] == "evicted"
    assert node.origins() == []
    assert evict(node.host(), Evict(0, key), node.settings)["result"] == "gone"
    with pytest.raises(errors.NotFound, match="cache list"):
        pin(node.host(), Pin(0, key, True), node.settings)


def test_what_is_used_is_not_evicted(node: Node) -> None:
    key = warmed(node)
    clone(node.host(), node.clone(), node.settings)
    with pytest.raises(errors.Busy, match="1 volumes are made of it, as lv-one-7-0"):
        evict(node.host(), Evict(0, key), node.settings)
    delete(node.host(), node.delete(), node.settings)
    name = room.origin_lock(VG, key)
    with (
        lock.hold(node.settings.lock_dir, name, "a fill", wait=0),
        pytest.raises(errors.Busy, match="an action uses it"),
    ):
        evict(node.host(), Evict(0, key), node.settings)
    assert node.origins() == [names.ORIGIN_PREFIX + key]


@pytest.mark.parametrize("deed", [partial(evict, request=Evict(0, "x")), partial(pin, request=Pin(0, "x", True))])
def test_a_volume_of_somebody_else_is_left_alone(node: Node, deed: partial[object]) -> None:
    node.lvm.add(VG, Lv(f"{names.ORIGIN_PREFIX}x", EXTENT, "foreign"))
    before = node.picture()
    with pytest.raises(errors.NotOurs):
        deed(node.host(), settings=node.settings)
    assert node.picture() == before


# --- scrub


def scrubbed(node: Node, key: str) -> str:
    return str(scrub(node.host(), Scrub(0, key, root(node)), node.settings)["result"])


def test_a_scrub_finds_what_has_changed(node: Node) -> None:
    key = warmed(node)
    before = node.picture()
    assert scrubbed(node, key) == "same"
    assert node.picture() == before
    assert not node.volumes()[names.ORIGIN_PREFIX + key].active
    node.write_disk(names.ORIGIN_PREFIX + key, b"rot")
    assert scrubbed(node, key) == "different"
    node.image("img", b"newer" * 1000)
    assert scrubbed(node, key) == "changed"
    os.unlink(node.image("img").path)
    assert scrubbed(node, key) == "gone"


def test_a_scrub_leaves_disks_of_the_origin_active(node: Node) -> None:
    clone(node.host(), node.clone(), node.settings)
    assert scrubbed(node, node.key()) == "same"
    assert node.volumes()["lv-one-7-0"].active
    assert node.disk_holds(node.image_content())


def test_a_clone_during_a_scrub_keeps_its_device(node: Node) -> None:
    """A classic snapshot shares its origin's device-mapper table: who takes the one away takes the other."""
    key = warmed(node)
    during = Fault("copy cmp", "call", lambda: clone(node.host(), node.clone(), node.settings))
    assert scrub(node.host(during), Scrub(0, key, root(node)), node.settings)["result"] == "same"
    assert node.volumes()["lv-one-7-0"].active
    assert node.disk_holds(node.image_content())


def test_nothing_is_evicted_while_it_is_scrubbed(node: Node) -> None:
    key = warmed(node)

    def evicted() -> None:
        with pytest.raises(errors.Busy):
            evict(node.host(), Evict(0, key), node.settings)

    scrub(node.host(Fault("copy cmp", "call", evicted)), Scrub(0, key, root(node)), node.settings)
    assert node.origins() == [names.ORIGIN_PREFIX + key]


@pytest.mark.parametrize("kind", ["fail", "kill", "interrupt"])
def test_a_scrub_that_is_cut_off_harms_nothing(node: Node, kind: str) -> None:
    key = warmed(node)
    for step in range(1, 6):
        with pytest.raises((errors.Error, Killed)):
            scrub(node.host(Fault(step, kind)), Scrub(0, key, root(node)), node.settings)
            raise Killed  # it had fewer steps
    assert scrubbed(node, key) == "same"
    assert evict(node.host(), Evict(0, key), node.settings)["result"] == "evicted"


# --- settle, relink


def test_a_crashed_fill_is_removed(node: Node) -> None:
    with pytest.raises(Killed):
        warm(node.host(Fault("copy dd", "kill")), Warm(0, node.image(), 0, False), node.settings)
    [left] = [n for n in node.volumes() if n.startswith(names.FILL_PREFIX)]
    assert left == names.FILL_PREFIX + node.key()
    assert settle(node.host(), Settle(0, node.key()), node.settings)["result"] == "removed"
    assert left not in node.volumes()
    assert settle(node.host(), Settle(0, node.key()), node.settings)["result"] == "there"


def test_a_complete_fill_is_finished(node: Node) -> None:
    with pytest.raises(Killed):
        warm(node.host(Fault("lvm lvrename", "call", _die)), Warm(0, node.image(), 0, False), node.settings)
    assert settle(node.host(), Settle(0, node.key()), node.settings)["result"] == "finished"
    assert node.origins() == [names.ORIGIN_PREFIX + node.key()]
    assert node.volume_holds(node.origins()[0], node.image_content())


def _die() -> None:
    raise Killed


def test_a_fill_at_work_is_left_alone(node: Node) -> None:
    seen = []

    def look() -> None:
        with pytest.raises(errors.Busy):
            settle(node.host(), Settle(0, node.key()), node.settings)
        seen.append(True)

    clone(node.host(Fault("copy dd", "call", look)), node.clone(), node.settings)
    assert seen
    assert node.disk_holds(node.image_content())


def test_a_lost_link_is_made_again(node: Node) -> None:
    clone(node.host(), node.clone(), node.settings)
    os.unlink(node.disk().link)
    node.change("lv-one-7-0", active=False)
    (node.lvm.devices / VG / "lv-one-7-0").unlink()
    assert relink(node.host(), Relink(node.disk()), node.settings)["result"] == "linked"
    assert node.disk_holds(node.image_content())
    assert relink(node.host(), Relink(node.disk()), node.settings)["result"] == "there"


def test_what_must_not_be_linked(node: Node) -> None:
    with pytest.raises(errors.NotFound):
        relink(node.host(), Relink(node.disk()), node.settings)
    clone(node.host(), node.clone(), node.settings)
    link = node.disk().link
    os.unlink(link)
    os.symlink("/elsewhere", link)
    with pytest.raises(errors.NotOurs):
        relink(node.host(), Relink(node.disk()), node.settings)
    os.unlink(link)
    for tag in (names.reserve(5), names.PARTIAL):
        node.tag("lv-one-7-0", tag)
        with pytest.raises(errors.Busy, match="half copied"):
            relink(node.host(), Relink(node.disk()), node.settings)
        with node.lvm.metadata() as vgs:
            vgs[VG].lvs["lv-one-7-0"].tags.discard(tag)
    node.lvm.add(VG, Lv("lv-one-9-0", EXTENT, "foreign"))
    with pytest.raises(errors.NotOurs):
        relink(node.host(), Relink(node.disk(9)), node.settings)
    assert not os.path.lexists(link)


# --- stopped at any step


def one_origin(node: Node) -> None:
    assert node.origins() == [names.ORIGIN_PREFIX + node.key()]
    assert node.volume_holds(node.origins()[0], node.image_content())
    assert not [n for n in node.volumes() if n.startswith(names.FILL_PREFIX)]


def linked(node: Node) -> None:
    assert node.disk_holds(node.image_content())


def a_cold_image(node: Node) -> Warm:
    return Warm(0, node.image(), 0, False)


def a_lost_link(node: Node) -> Relink:
    clone(node.host(), node.clone(), node.settings)
    os.unlink(node.disk().link)
    return Relink(node.disk())


def an_unused_origin(node: Node) -> Evict:
    return Evict(0, warmed(node))


def a_crashed_fill(node: Node) -> Settle:
    killed(warm, node, a_cold_image(node), "copy dd")
    return Settle(0, node.key())


def no_fill(node: Node) -> None:
    assert [n for n in node.volumes() if n.startswith("vaf-") and n != names.THIN_POOL] == []


def gone_or_whole(node: Node, before: Picture) -> None:
    """What shall go may be gone; nothing else is different."""
    after = node.picture()
    assert set(after.volumes.items()) <= set(before.volumes.items())
    assert after.files == before.files


def lost_or_linked(node: Node, before: Picture) -> None:
    """The link is right as soon as it is there, so it may stay."""
    after = node.picture()
    assert after.volumes == before.volumes
    assert {path: held for path, held in after.files.items() if path not in before.files} in (
        {},
        {node.disk().link: node.disk().device},
    )


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "case",
    [
        Case(warm, a_cold_image, one_origin),
        Case(relink, a_lost_link, linked, left=lost_or_linked),
        Case(evict, an_unused_origin, no_fill, left=gone_or_whole),
        Case(settle, a_crashed_fill, no_fill, left=gone_or_whole),
    ],
    ids=lambda case: case.deed.__name__,
)
def test_stopped_at_any_step_they_leave_nothing_and_succeed_when_run_again(
    make_node: NodeMaker, case: Case, mode: str, kind: str
) -> None:
    survives(case, make_node, mode, kind)


# --- survey, inspect


def test_a_survey_tells_volumes_links_and_last_use(node: Node) -> None:
    clone(node.host(), node.clone(), node.settings)
    (node.root / "ds/0/7/disk.1").write_bytes(b"a context CD")
    (node.root / "ds/0/7/deployment.0").write_bytes(b"")
    facts = survey(node.host(), Survey(root(node)), node.settings)
    assert facts["links"] == {"0/7/0": node.disk().device, "0/7/1": ""}
    [(vg, group)] = facts["groups"].items()  # type: ignore[attr-defined]
    assert (vg, group["size"]) == (VG, 64 * EXTENT)
    volumes = {v["name"]: v for v in group["volumes"]}
    [origin] = node.origins()
    assert {origin, "lv-one-7-0"} <= set(volumes)
    assert volumes["lv-one-7-0"]["origin"] == origin
    assert "vaf.vm=7" in volumes["lv-one-7-0"]["tags"]
    used = os.stat(f"{node.settings.lock_dir}/vafnebula-{room.origin_lock(VG, node.key())}.lock").st_mtime
    assert volumes[origin]["used"] == max(int(used), volumes[origin]["created"])


class Bare(Host):
    """This machine, where LVM is not to be asked."""

    def lvm(self, argv):  # type: ignore[no-untyped-def]
        raise errors.SudoRefused(program=argv[0])


def test_an_inspection_tells_what_is_there_and_what_is_not(thin: Node) -> None:
    image = thin.image()
    missing = Image(1, image.path + "x")
    facts = inspect(Bare(), Inspect([image.path, missing.path]), thin.settings)
    assert facts["images"] == {image.path: 1024 * 1024 + 512, missing.path: "No such file or directory"}
    assert facts["pools"] == {}
    assert facts["lock_dir"] is True
    assert facts["tools"]["dd"] is True  # type: ignore[index]
    assert facts["lvm_conf"]["scan_lvs"] in ("0", "1")  # type: ignore[index]


def test_an_inspection_tells_of_thin_pools(node: Node) -> None:
    facts = inspect(node.host(), Inspect([]), node.settings)
    pool = facts["pools"][VG]  # type: ignore[index]
    if node.mode == "thin":
        assert (pool["zero"], pool["lv_when_full"], pool["data_percent"]) == ("zero", "queue", "0.00")
    else:
        assert pool == {}
    assert facts["sudo"] == dict.fromkeys(SUDO, True)

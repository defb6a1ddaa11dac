from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.fakes.host import FakeHost
from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import VG, Node
from vafnebula import errors, names
from vafnebula.node import lvm

FIELDS = lvm._FIELDS.split(",")


def row(**changes: str) -> dict[str, str]:
    return {**dict.fromkeys(FIELDS, ""), "lv_size": "0", **changes}


def parsed(**changes: str) -> lvm.Volume:
    [volume] = lvm.parse_lvs(json.dumps({"report": [{"lv": [row(**changes)]}], "log": []}).encode())
    return volume


def test_a_thin_snapshot_as_lvs_reports_it() -> None:
    volume = parsed(
        lv_name="lv-one-7-0", lv_size="4194304", lv_attr="Vwi-aotz--", lv_tags="vaf.recipe=0a,vaf.vm=7,vafnebula",
        origin="vaf-origin-1", pool_lv="vaf-thinpool", segtype="thin", data_percent="12.34", lv_time="1700000000",
    )  # fmt: skip
    assert (volume.name, volume.size, volume.kind, volume.origin) == ("lv-one-7-0", 4194304, "thin", "vaf-origin-1")
    assert (volume.thin_pool, volume.data_percent, volume.created) == ("vaf-thinpool", 12.34, 1700000000)
    assert volume.ours
    assert (volume.tag("vm"), volume.tag("recipe"), volume.tag("disk")) == ("7", "0a", "")


def test_a_volume_in_pieces_is_one_volume() -> None:
    rows = [row(lv_name=name, lv_size="125829120", segtype="linear") for name in ("a", "lv-one-7-1", "lv-one-7-1", "z")]
    volumes = lvm.parse_lvs(json.dumps({"report": [{"lv": rows}]}).encode())
    assert [(v.name, v.size) for v in volumes] == [("a", 125829120), ("lv-one-7-1", 125829120), ("z", 125829120)]


def test_names_that_lvm_hides_lose_their_brackets() -> None:
    assert parsed(origin="[lv-one-7-0_vorigin]").origin == "lv-one-7-0_vorigin"


def test_a_thin_pool_tells_whether_it_zeroes() -> None:
    assert parsed(segtype="thin-pool", zero="zero").zeroing
    assert not parsed(segtype="thin-pool", zero="").zeroing


@pytest.mark.parametrize(
    ("attr", "overflowed"),
    [("swi-a-s---", False), ("swi-I-s---", True), ("Swi-S-s---", True), ("swi---s---", False), ("", False)],
)
def test_an_overflowed_snapshot_is_known_by_its_attributes(attr: str, overflowed: bool) -> None:
    assert parsed(lv_attr=attr).overflowed is overflowed


def test_a_group_finds_volumes_and_snapshots() -> None:
    group = lvm.Group("vg", (parsed(lv_name="a"), parsed(lv_name="b", origin="a"), parsed(lv_name="c", origin="a")))
    assert group.find("b") is group.volumes[1]
    assert group.find("d") is None
    assert [v.name for v in group.snapshots_of("a")] == ["b", "c"]


def test_the_report_has_what_was_asked_for(node: Node) -> None:
    node.lvm.add(VG, Lv("x", EXTENT, "linear", tags={"a", "b"}))
    volume = lvm.group(node.host(), VG).find("x")
    assert volume
    assert (volume.tags, volume.size, volume.ours) == (frozenset("ab"), EXTENT, False)


def test_the_free_bytes_of_a_vg(thick: Node) -> None:
    assert lvm.free_bytes(thick.host(), VG) == 64 * EXTENT
    thick.occupy(3 * EXTENT)
    assert lvm.free_bytes(thick.host(), VG) == 3 * EXTENT


@pytest.mark.parametrize("size", [0, 1, EXTENT - 1, EXTENT])
def test_no_volume_is_smaller_than_an_extent(size: int) -> None:
    assert lvm.in_extents(size) == EXTENT


def test_volumes_are_rounded_up_to_whole_extents() -> None:
    assert lvm.in_extents(EXTENT + 1) == 2 * EXTENT


MISSING: dict[str, Callable[[FakeHost], object]] = {
    "activate": lambda host: lvm.activate(host, VG, "x"),
    "deactivate": lambda host: lvm.deactivate(host, VG, "x"),
    "untag": lambda host: lvm.untag(host, VG, "x", ["a"]),
    "extend": lambda host: lvm.extend(host, VG, "x", EXTENT),
    "rename": lambda host: lvm.rename(host, VG, "x", "y"),
    "snapshot": lambda host: lvm.snapshot(host, VG, "x", "y", [], limit=95, readonly=False),
    "cow_snapshot": lambda host: lvm.cow_snapshot(host, VG, "x", "y", [], room=EXTENT, chunk=4096, readonly=False),
}


@pytest.mark.parametrize("call", MISSING.values(), ids=MISSING)
def test_a_volume_that_is_not_there_is_not_found(node: Node, call: Callable[[FakeHost], object]) -> None:
    with pytest.raises(errors.NotFound, match="x"):
        call(node.host())


def test_removing_nothing_is_fine(node: Node) -> None:
    lvm.remove(node.host(), VG, lvm.by_name("x"))


def test_only_what_is_selected_and_ours_is_removed(node: Node) -> None:
    for name, tags in (("a", {names.OURS, "vaf.vm=7"}), ("b", {names.OURS, "vaf.vm=71"}), ("c", {"vaf.vm=7"})):
        node.lvm.add(VG, Lv(name, EXTENT, "linear", tags=tags))
    lvm.remove(node.host(), VG, lvm.by_tag("vm", 7))
    assert {"a", "b", "c"} & set(node.volumes()) == {"b", "c"}


def test_a_limit_lets_new_volumes_in_up_to_it(thin: Node) -> None:
    pool = thin.volumes()[names.THIN_POOL].size
    thin.occupy(pool // 5)
    lvm.thin_volume(thin.host(), VG, "a", EXTENT, [], limit=81)
    with pytest.raises(errors.NoRoom):
        lvm.thin_volume(thin.host(), VG, "b", EXTENT, [], limit=79)

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fakes.host import Fault
from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import VG, Node, NodeMaker, Picture
from vafnebula import errors, names, units
from vafnebula.node import lock, lvm, room
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.delete import delete
from vafnebula.node.deeds.ln import ln

MIB = 1 << 20
OLD = 10_000.0  # seconds, more than cache_min_age


def cached(node: Node, *images: str) -> list[str]:
    """Origins of the images, used in this order, long ago, by no disk now; their names."""
    made = []
    for number, image in enumerate(images):
        clone(node.host(), node.clone(100 + number, name=image), node.settings)
        delete(node.host(), node.delete(-1, vm=100 + number), node.settings)
        node.age(1000)
        made.append(names.ORIGIN_PREFIX + node.key(image))
    node.age(OLD)
    return made


def fill_up(node: Node) -> None:
    """Leave room for nothing until something is evicted."""
    node.occupy(0)


# --- the count


def test_what_may_still_be_written_is_what_lies_below_the_limit(thin: Node) -> None:
    pool = thin.volumes()[names.THIN_POOL].size
    thin.occupy(pool // 2)
    group = lvm.group(thin.host(), VG)
    assert room.thin_free(group, 100) == pytest.approx(pool // 2, abs=pool // 10_000)
    assert room.thin_free(group, 75) == pytest.approx(pool // 4, abs=pool // 10_000)
    assert room.thin_free(group, 50) == pytest.approx(0, abs=pool // 10_000)


def test_a_reservation_counts_until_its_bytes_have_arrived(thin: Node) -> None:
    pool = thin.volumes()[names.THIN_POOL].size
    thin.lvm.add(VG, Lv("fill", 2 * EXTENT, "thin", tags={names.OURS, names.reserve(EXTENT)}))
    assert room.thin_free(lvm.group(thin.host(), VG), 100) == pool - EXTENT
    thin.write_disk("fill", b"x" * MIB)
    assert room.thin_free(lvm.group(thin.host(), VG), 100) == pytest.approx(pool - EXTENT, abs=pool // 10_000)
    thin.write_disk("fill", b"x" * (EXTENT + MIB))
    assert room.thin_free(lvm.group(thin.host(), VG), 100) == pytest.approx(pool - EXTENT - MIB, abs=pool // 10_000)


def test_a_strangers_tag_reserves_nothing(thin: Node) -> None:
    thin.lvm.add(VG, Lv("x", EXTENT, "thin", tags={names.reserve(EXTENT)}))
    assert room.thin_free(lvm.group(thin.host(), VG), 100) == thin.volumes()[names.THIN_POOL].size


def test_two_copies_at_once_do_not_take_the_same_room(thin: Node) -> None:
    thin.occupy(300 * units.KIB)  # one copy reserves 192 KiB
    settings, other = thin.with_settings(pool_limit=100), thin.clone(9, name="other")
    refused: list[BaseException] = []

    def another() -> None:
        try:
            clone(thin.host(), other, settings)
        except errors.NoRoom as e:
            refused.append(e)

    clone(thin.host(Fault("copy dd", "call", another)), thin.clone(), settings)
    assert "196608 bytes wanted" in str(refused[0])
    assert thin.disk_volumes() == ["lv-one-7-0"]


# --- what goes, and what stays


def test_the_origin_unused_for_longest_goes_first_and_no_more_than_needed(node: Node) -> None:
    first, second, _ = cached(node, "a", "b", "c")
    clone(node.host(), node.clone(100, name="a"), node.settings)  # used again
    delete(node.host(), node.delete(-1, vm=100), node.settings)
    node.age(OLD)
    node.occupy(150_000 if node.mode == "thin" else 0)  # one origin less will do
    ln(node.host(), node.link(), node.with_settings(pool_limit=100))
    assert second not in node.origins()
    assert first in node.origins()
    assert node.disk_holds(node.image_content())


def test_a_pinned_an_used_and_a_young_origin_stay(node: Node) -> None:
    pinned, used, _ = cached(node, "a", "b", "c")
    node.tag(pinned, names.PINNED)
    clone(node.host(), node.clone(50, name="b"), node.settings)
    node.age(OLD)
    clone(node.host(), node.clone(51, name="d"), node.settings)
    delete(node.host(), node.delete(-1, vm=51), node.settings)
    young = names.ORIGIN_PREFIX + node.key("d")
    fill_up(node)
    with pytest.raises(errors.NoRoom):
        ln(node.host(), node.link(size=20 * EXTENT), node.settings)
    assert {pinned, used, young} <= set(node.origins())


def test_nothing_goes_when_all_of_it_would_not_do(node: Node) -> None:
    kept = set(cached(node, "a", "b"))
    node.age(OLD)
    fill_up(node)
    with pytest.raises(errors.NoRoom):
        ln(node.host(), replace(node.link(), image=node.image("large", os.urandom(3 * EXTENT))), node.settings)
    assert set(node.origins()) == kept


def test_debris_of_a_dead_fill_goes_before_any_origin(node: Node) -> None:
    kept = cached(node, "a")
    fill = names.FILL_PREFIX + "0" * 20
    size = {"thin": "thin", "thick": "linear"}[node.mode]
    node.lvm.add(VG, Lv(fill, EXTENT, size, tags={names.OURS}))
    node.write_disk(fill, b"x" * 3 * MIB)
    fill_up(node)
    ln(node.host(), node.link(), node.with_settings(pool_limit=100))
    assert fill not in node.volumes()
    assert node.origins() == kept


def test_a_strangers_volume_that_looks_like_an_origin_stays(node: Node) -> None:
    name = names.ORIGIN_PREFIX + "0" * 20
    node.lvm.add(VG, Lv(name, EXTENT, "linear"))
    node.age(OLD)
    fill_up(node)
    with pytest.raises(errors.NoRoom):
        ln(node.host(), node.link(), node.settings)
    assert name in node.volumes()


def test_an_origin_that_somebody_fills_or_uses_now_stays(node: Node) -> None:
    [origin] = cached(node, "a")
    name = room.origin_lock(VG, room.key_of(origin))
    for shared in (True, False):
        with lock.hold(node.settings.lock_dir, name, "", wait=0, shared=shared):
            assert not room.evict(node.host(), node.settings, VG, origin)
    assert node.origins() == [origin]
    assert room.evict(node.host(), node.settings, VG, origin)


def test_an_origin_that_got_a_snapshot_meanwhile_stays(node: Node) -> None:
    [origin] = cached(node, "a")
    candidates = room.candidates(lvm.group(node.host(), VG), node.settings, 1e12)
    assert [v.name for v in candidates] == [origin]
    clone(node.host(), node.clone(name="a"), node.settings)
    assert not room.evict(node.host(), node.settings, VG, origin)
    assert node.disk_holds(node.image_content("a"))


def test_a_refusal_with_nothing_to_evict_changes_nothing(node: Node) -> None:
    clone(node.host(), node.clone(50, name="a"), node.settings)
    fill_up(node)
    request, before = node.link(), node.picture()
    with pytest.raises(errors.NoRoom, match=r"\d+ bytes wanted, \d+ bytes free"):
        ln(node.host(), request, node.settings)
    assert node.picture() == before


def test_a_lost_lock_directory_makes_origins_look_older_never_wrong(node: Node) -> None:
    [origin] = cached(node, "a")
    for path in (node.root / "lock").iterdir():
        path.unlink()
    clone(node.host(), node.clone(name="a"), node.settings)
    assert node.origins() == [origin]


# --- a model: random lives of a cache

AGE, STEPS = 100, 14
Op = tuple[str, int, int]
ops = st.lists(
    st.tuples(st.just("clone"), st.integers(0, 3), st.integers(0, 3))
    | st.tuples(st.just("clone"), st.integers(0, 3), st.integers(0, 3))
    | st.tuples(st.just("delete"), st.integers(0, 3), st.just(0))
    | st.tuples(st.just("pin"), st.integers(0, 3), st.just(0))
    | st.tuples(st.just("age"), st.sampled_from([30, 60, 120]), st.just(0))
    | st.tuples(st.just("room"), st.integers(0, 12), st.just(0)),
    min_size=4,
    max_size=STEPS,
)

THREE_CACHED: list[Op] = [(what, n, n) for n in range(3) for what in ("clone", "delete")]


@contextmanager
def fresh_node(mode: str) -> Iterator[Node]:
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as root:
        yield NodeMaker(Path(root), monkeypatch)(mode)


class Model:
    """What a cache should remember: by origin, when it was used last (in our own clock) and whether it is pinned."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.settings = replace(node.settings, cache_min_age=AGE, pool_limit=100)
        self.clock = 0.0
        self.used: dict[str, float] = {}
        self.pinned: set[str] = set()

    def may_go(self, before: Picture, replaced: str) -> set[str]:
        """Origins that may be evicted while the volume `replaced` is made, hence gone."""
        in_use = {volume[2] for name, volume in before.volumes.items() if name != replaced}
        return {
            origin
            for origin, used in self.used.items()
            if origin not in self.pinned and origin not in in_use and self.clock - used >= AGE
        }

    def clone(self, vm: int, image: int) -> None:
        request = self.node.clone(vm, name=f"image{image}")
        origin = names.ORIGIN_PREFIX + self.node.key(f"image{image}")
        before = self.node.picture()
        may_go = self.may_go(before, f"lv-one-{vm}-0")
        try:
            facts = clone(self.node.host(), request, self.settings)
        except errors.NoRoom as e:
            facts = {}
            wanted, free = re.findall(r"(\d+) bytes", str(e))
            assert int(wanted) > 0
            assert int(free) >= 0
            assert f"lv-one-{vm}-0" not in self.node.volumes() or f"lv-one-{vm}-0" in before.volumes
        after = self.node.picture()
        gone = set(self.used) - set(after.volumes)
        self.check(gone, may_go, origin, refused=not facts)
        assert set(before.volumes) - set(after.volumes) <= gone | {f"lv-one-{vm}-0"}
        for name in gone:
            del self.used[name]
        if origin in after.volumes and (facts.get("result") == "made" or origin not in before.volumes):
            self.clock += 0.001
            self.used[origin] = self.clock
        self.all_disks_are_right()

    def check(self, gone: set[str], may_go: set[str], own: str, *, refused: bool) -> None:
        assert gone <= may_go
        stayed = may_go - gone - {own}
        assert not gone or not stayed or max(self.used[n] for n in gone) <= min(self.used[n] for n in stayed)
        assert not refused or not stayed, "refused, though something could have gone"

    def all_disks_are_right(self) -> None:
        for vm in range(4):
            if os.path.lexists(self.node.disk(vm).link):
                contents = [self.node.image_content(f"image{n}") for n in range(4)]
                assert any(self.node.disk_holds(content, self.node.disk(vm)) for content in contents)

    def do(self, op: Op) -> None:
        what, a, b = op
        if what == "clone":
            self.clone(a, b)
        elif what == "delete":
            delete(self.node.host(), self.node.delete(-1, vm=a), self.settings)
        elif what == "age":
            self.clock += a
            self.node.age(a)
        elif what == "room":
            self.node.occupy(a * EXTENT // 2)
        elif self.used:
            name = sorted(self.used)[a % len(self.used)]
            self.pinned.add(name)
            self.node.tag(name, names.PINNED)


@pytest.mark.parametrize("mode", ["thin", "thick"])
@settings(max_examples=25)
@example(life=[*THREE_CACHED, ("age", 120, 0), ("room", 0, 0), ("clone", 3, 3)])
@example(life=[*THREE_CACHED, ("pin", 1, 0), ("age", 120, 0), ("room", 0, 0), ("clone", 3, 3)])
@example(life=[*THREE_CACHED, ("age", 120, 0), ("clone", 0, 0), ("room", 0, 0), ("clone", 3, 3)])
@given(life=ops)
def test_no_life_of_a_cache_evicts_what_is_pinned_used_or_young(mode: str, life: list[Op]) -> None:
    with fresh_node(mode) as node:
        for number in range(4):
            node.image(f"image{number}")
        model = Model(node)
        for op in life:
            model.do(op)

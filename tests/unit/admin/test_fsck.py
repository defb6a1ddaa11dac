from __future__ import annotations

import pytest

from tests.unit.admin.sight import KEY, ROOT, disk, origin, view, vm, volume
from vafnebula import names
from vafnebula.admin import fsck
from vafnebula.admin.fsck import Finding
from vafnebula.admin.views import View
from vafnebula.model import Delete, DiskRef
from vafnebula.model_admin import Relink, Settle
from vafnebula.one import pools

DONE = 6


def find(seen: View, *live: pools.Vm, done: tuple[int, ...] = ()) -> list[Finding]:
    known = {n: vm(n, state=DONE, lcm=0) for n in done}
    return fsck.findings([seen], live, known.get, ROOT)


def test_all_is_well() -> None:
    seen = view(volume("vaf-thinpool", names.OURS), origin(), disk(7), disk(7, 1), disk(8))
    assert find(seen, vm(7, 0, 1), vm(8)) == []


def test_a_lost_link() -> None:
    [finding] = find(view(disk(7), links={}), vm(7, seq=3))
    assert finding.kind == "lost link"
    assert finding.repair == Relink(DiskRef(7, 0, 3, 100, f"{ROOT}/100/7"))


def test_a_link_to_somewhere_else_is_a_persons_business() -> None:
    for target in ("/dev/sda", ""):
        [finding] = find(view(disk(7), links={"100/7/0": target}), vm(7))
        assert (finding.kind, finding.repair) == ("wrong link", None)


def test_a_boot_may_spell_a_link_in_another_way() -> None:
    assert find(view(disk(7), links={"100/7/0": "/dev/./vg-one-100/lv-one-7-0"}), vm(7)) == []
    assert find(view(disk(7), links={"100/7/0": "/dev//vg-one-100/lv-one-7-0"}), vm(7)) == []


def test_a_copy_that_was_cut_off_is_not_linked() -> None:
    [finding] = find(view(disk(7, 0, names.PARTIAL), links={}), vm(7))
    assert (finding.kind, finding.repair) == ("leftover", None)


def test_a_lost_volume() -> None:
    [finding] = find(view(links={"100/7/0": "/dev/vg-one-100/lv-one-7-0"}), vm(7))
    assert (finding.kind, finding.what, finding.repair) == ("lost volume", "vg-one-100/lv-one-7-0", None)
    assert "onevm recover --recreate 7" in finding.advice


def test_what_an_action_that_was_cut_off_left() -> None:
    def own(ending: str) -> dict[str, object]:
        return volume(f"lv-one-7-0{ending}", names.OURS, "vaf.vm=7", "vaf.disk=0")

    link = {"100/7/0": "/dev/vg-one-100/lv-one-7-0"}
    for ending in fsck.LEFT:
        [finding] = find(view(disk(7), own(ending), links=link), vm(7))
        assert (finding.kind, finding.repair) == ("leftover", None)
    assert find(view(disk(7), own("-s1"), own("-b2"), links=link), vm(7)) == []
    [finding] = find(view(own("-old"), own("-revert"), links=link), vm(7))
    assert (finding.kind, finding.repair) == ("lost volume", Relink(DiskRef(7, 0, 0, 100, f"{ROOT}/100/7")))


def test_disks_of_other_drivers_are_not_missed() -> None:
    other = pools.Vm(7, "x", 3, 3, "n1", 100, 0, {0: {"TM_MAD": "ssh"}})
    assert find(view(), other) == []


def test_a_half_filled_origin_unless_it_is_being_filled() -> None:
    fill = f"{names.FILL_PREFIX}{KEY}"
    [finding] = find(view(volume(fill, names.OURS)))
    assert (finding.kind, finding.repair) == ("half-filled", Settle(100, KEY))
    assert find(view(volume(fill, names.OURS, busy=True))) == []


def test_all_of_a_done_vm_goes_by_one_order() -> None:
    snapshot = volume("lv-one-7-0-s1", names.OURS, "vaf.vm=7", "vaf.disk=0")
    [finding] = find(view(disk(7), disk(7, 1), snapshot), done=(7,))
    assert (finding.kind, finding.repair) == ("orphan", Delete(7, -1, 100, f"{ROOT}/100/7"))
    assert finding.what == "vg-one-100/lv-one-7-0, vg-one-100/lv-one-7-1, vg-one-100/lv-one-7-0-s1"


def test_a_directory_of_a_done_vm() -> None:
    [finding] = find(view(links={"100/7/0": "/dev/vg-one-100/lv-one-7-0"}), done=(7,))
    assert (finding.kind, finding.what) == ("orphan", f"{ROOT}/100/7")
    assert finding.repair == Delete(7, -1, 100, f"{ROOT}/100/7")


def test_the_copy_of_a_persistent_image_is_never_removed() -> None:
    for seen, live, done in (
        (view(disk(7, 0, "vaf.format=raw")), (), (7,)),
        (view(disk(7, 0), disk(7, 1, "vaf.format=raw")), (vm(7, 0),), ()),
    ):
        [finding] = find(seen, *live, done=done)
        assert (finding.kind, finding.repair) == ("orphan", None)
        assert "perhaps newer" in finding.advice


def test_a_disk_that_was_detached() -> None:
    [finding] = find(view(disk(7), disk(7, 1)), vm(7, 0))
    assert finding.repair == Delete(7, 1, 100, f"{ROOT}/100/7")


def test_a_vm_that_opennebula_does_not_know_is_left_alone() -> None:
    [finding] = find(view(disk(7)))
    assert (finding.kind, finding.repair) == ("unknown", None)


def test_what_is_not_ours_is_left_alone() -> None:
    found = find(
        view(volume("theirs"), volume("lv-one-7-0"), volume(f"{names.ORIGIN_PREFIX}{KEY}"), links={}), done=(7,)
    )
    assert {(f.kind, f.repair) for f in found} == {("foreign", None)}
    assert len(found) == 3


def test_what_a_migration_left_behind_is_a_persons_business() -> None:
    [finding] = find(view(disk(7)), vm(7, host="n2"))
    assert (finding.kind, finding.repair) == ("stray", None)
    assert "VM 7 is on n2" in finding.why


@pytest.mark.parametrize(
    ("state", "lcm"),
    [(1, 0), (3, 1), (3, 2), (3, 8), (3, 11), (3, 17), (3, 33), (3, 39), (3, 43), (3, 51), (3, 60), (4, 0), (9, 0)],
)
def test_a_vm_that_is_about_to_change_is_not_judged(state: int, lcm: int) -> None:
    """Deployment, migration, attach: half-made disks are no finding, and must not be linked or removed."""
    moving = vm(7, 0, 1, state=state, lcm=lcm)
    assert find(view(disk(7), links={}), moving) == []
    assert find(view(), moving) == []
    assert find(view(disk(7), host="n2"), moving) == []


def test_an_overflowed_snapshot() -> None:
    [finding] = find(view(disk(7, 0, kind="linear", attr="swi-I-s---")), vm(7))
    assert (finding.kind, finding.repair) == ("overflowed", None)


def test_a_node_that_was_not_asked_has_lost_nothing() -> None:
    assert find(view(), vm(7, host="n9")) == []
    assert find(view(sds=200), vm(7, sds=100)) == []

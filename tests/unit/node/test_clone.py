from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from tests.fakes.child import Child, at_once
from tests.fakes.host import FakeHost, Fault
from tests.fakes.lvm import EXTENT, Lv
from tests.fakes.node import IMAGE, VG, Node, NodeMaker
from tests.unit.node.steps import Case, killed, matrix, survives
from vafnebula import errors, names, process
from vafnebula.model import Clone, DiskRef, Image
from vafnebula.node import lvm, room, signals
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.delete import delete


def is_cloned(node: Node) -> None:
    """Disk 0 is a published, writable snapshot of the one complete origin, and holds the image and then zeros."""
    volumes = node.volumes()
    [origin] = node.origins()
    [disk] = [v for v in volumes.values() if "vaf.disk=0" in v.tags and f"vaf.vm={node.disk().vm}" in v.tags]
    assert (disk.name, disk.origin, disk.readonly, disk.active) == ("lv-one-7-0", origin, False, True)
    assert not any(name.startswith(names.FILL_PREFIX) for name in volumes)
    assert volumes[origin].readonly
    assert volumes[origin].skip or node.mode == "thick"  # a classic snapshot is activated with its origin
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


@matrix([cold, warm], [half_filled, filled_not_renamed, unpublished, older, dangling])
def test_stopped_at_any_step_leaves_nothing_and_succeeds_when_repeated(
    make_node: NodeMaker, start: Callable[[Node], Clone], mode: str, kind: str
) -> None:
    survives(Case(clone, start, is_cloned), make_node, mode, kind)


# --- what it costs


def programs(host: FakeHost) -> list[str]:
    return [command[0] for command in host.commands]


def test_a_warm_clone_is_one_lvm_command(thin: Node) -> None:
    request, host = warm(thin), thin.host()
    assert clone(host, request, thin.settings)["cache"] == "hit"
    assert programs(host) == ["lvcreate"]
    assert host.copies == []


def test_a_warm_thick_clone_activates_only_the_first_snapshot(thick: Node) -> None:
    request, host = warm(thick), thick.host()
    clone(host, request, thick.settings)
    assert programs(host) == ["lvcreate"]
    delete(thick.host(), thick.delete(vm=8), thick.settings)
    delete(thick.host(), thick.delete(), thick.settings)
    thick.change(thick.origins()[0], active=False)  # as after a reboot
    host = thick.host()
    clone(host, request, thick.settings)
    assert programs(host) == ["lvcreate", "lvchange"]


def test_a_cold_clone_is_eight_lvm_commands_and_one_read_of_the_image(node: Node) -> None:
    host = node.host()
    facts = clone(host, cold(node), node.settings)
    wanted = {
        "thin": ["lvcreate", "lvs", "lvs", "lvcreate", "lvchange", "lvchange", "lvrename", "lvcreate"],
        "thick": ["lvcreate", "lvs", "lvcreate", "lvchange", "lvchange", "lvrename", "lvcreate", "lvchange"],
    }
    assert programs(host) == wanted[node.mode]
    assert facts["bytes"] == sum(host.read.values()) == IMAGE
    assert (facts["result"], facts["cache"]) == ("made", "miss")


@pytest.mark.parametrize("start", [cold, warm])
def test_the_number_of_commands_does_not_grow_with_the_vg(node: Node, start: Callable[[Node], Clone]) -> None:
    request, few = start(node), node.host()
    clone(few, request, node.settings)
    delete(node.host(), node.delete(), node.settings)
    if start is cold:
        evict_all(node)
    with node.lvm.metadata() as vgs:
        for number in range(1000):
            vgs[VG].lvs[f"other-{number}"] = Lv(f"other-{number}", EXTENT, "foreign", active=False)
            vgs[VG].size += EXTENT
    many = node.host()
    clone(many, request, node.settings)
    assert programs(many) == programs(few)


def evict_all(node: Node) -> None:
    for origin in node.origins():
        assert room.evict(node.host(), node.settings, VG, origin)


# --- sizes and images


def test_a_larger_disk_reads_zeros_behind_the_image(node: Node) -> None:
    for _ in range(2):
        clone(node.host(), node.clone(size=3 * EXTENT + 1), node.settings)
        assert node.disk_holds(node.image_content())
        assert node.volumes()["lv-one-7-0"].size == 4 * EXTENT


def test_a_larger_disk_shares_the_origin_only_in_mode_thin(node: Node) -> None:
    clone(node.host(), node.clone(8), node.settings)
    facts = clone(node.host(), node.clone(size=3 * EXTENT), node.settings)
    assert facts["cache"] == {"thin": "hit", "thick": "miss"}[node.mode]


def test_a_disk_that_grows_only_inside_its_last_extent_is_not_extended(thin: Node) -> None:
    request, host = warm(thin), thin.host()
    clone(host, replace(request, size=EXTENT), thin.settings)
    assert programs(host) == ["lvcreate"]


def test_a_disk_smaller_than_the_image_is_refused_before_anything_is_done(node: Node) -> None:
    host = node.host()
    with pytest.raises(errors.ImageTooLarge, match="at least 2 MB"):
        clone(host, node.clone(size=IMAGE - 1), node.settings)
    assert host.steps == []


@pytest.mark.parametrize("directory", ["/", "0/7", "/ds/0/8", "/ds/0/7/", "/ds/../0/7", "/ds/0/7\n", "/0/7", "//0/7"])
def test_a_directory_that_is_not_the_vms_is_refused(node: Node, directory: str) -> None:
    host = node.host()
    request = replace(node.clone(), disk=replace(node.disk(), directory=directory))
    with pytest.raises(errors.BadArgument):
        clone(host, request, node.settings)
    assert host.steps == []


def test_a_missing_image_is_refused_before_anything_is_done(node: Node) -> None:
    host = node.host()
    with pytest.raises(errors.ImageMissing, match="No such file"):
        clone(host, replace(node.clone(), image=Image(1, "/nowhere/img")), node.settings)
    assert host.steps == []


def test_a_changed_image_gets_another_origin_and_old_disks_keep_theirs(node: Node) -> None:
    clone(node.host(), node.clone(8), node.settings)
    old = node.image_content()
    node.image(content=b"new" * 1000)
    facts = clone(node.host(), node.clone(), node.settings)
    assert facts["cache"] == "miss"
    assert node.disk_holds(b"new" * 1000)
    assert node.disk_holds(old, node.disk(8))
    assert len(node.origins()) == 2


def test_an_image_that_changes_while_it_is_copied_makes_no_disk(node: Node) -> None:
    request, before = node.clone(), node.picture()
    host = node.host(Fault("copy dd", "call", lambda: Path(request.image.path).touch()))
    with pytest.raises(errors.ImageChanged):
        clone(host, request, node.settings)
    assert node.picture().volumes == before.volumes


def test_an_image_that_shrinks_while_it_is_copied_makes_no_disk(node: Node) -> None:
    request, before = node.clone(), node.picture()
    host = node.host(Fault("copy dd", "call", lambda: os.truncate(request.image.path, 1000)))
    with pytest.raises(errors.CopyFailed, match="bytes were copied"):
        clone(host, request, node.settings)
    assert node.picture().volumes == before.volumes


def test_verify_finds_a_copy_that_is_not_equal(node: Node) -> None:
    request, settings = node.clone(), node.with_settings(verify=True)
    fill = names.FILL_PREFIX + node.key()
    host = node.host(Fault("copy cmp", "call", lambda: node.write_disk(fill, b"bit rot")))
    with pytest.raises(errors.CopyFailed, match="does not compare equal"):
        clone(host, request, settings)
    assert node.origins() == node.disk_volumes() == []
    assert clone(node.host(), request, settings)["result"] == "made"


def test_a_qcow2_image_becomes_a_raw_disk_of_its_virtual_size(node: Node) -> None:
    raw = node.image("raw", os.urandom(70_000).ljust(1 << 20, b"\0"))
    path = f"{raw.path}.any"
    process.run(["qemu-img", "convert", "-O", "qcow2", raw.path, path], timeout=60)
    request = replace(node.clone(), image=Image(1, path))
    clone(node.host(), request, node.with_settings(verify=True))
    assert node.disk_holds(node.image_content("raw"))
    with pytest.raises(errors.ImageTooLarge):
        clone(node.host(), replace(request, size=1 << 19), node.settings)


# --- what stands in the way


def test_a_strangers_volume_is_not_touched(node: Node) -> None:
    node.lvm.add(VG, Lv("lv-one-7-0", EXTENT, "linear"))
    request, stranger = warm(node), node.volumes()["lv-one-7-0"]
    with pytest.raises(errors.NotOurs, match="lv-one-7-0"):
        clone(node.host(), request, node.settings)
    os.makedirs(node.disk().directory)
    os.symlink(node.disk().device, node.disk().link)
    with pytest.raises(errors.NotOurs, match="lv-one-7-0"):
        clone(node.host(), request, node.settings)
    assert node.volumes()["lv-one-7-0"] == stranger


def test_a_file_in_place_of_the_link_is_not_touched(node: Node) -> None:
    os.makedirs(node.disk().directory)
    Path(node.disk().link).write_bytes(b"a disk of another driver")
    with pytest.raises(errors.NotOurs, match="not a link"):
        clone(node.host(), node.clone(), node.settings)
    assert Path(node.disk().link).read_bytes() == b"a disk of another driver"


def test_an_older_incarnation_in_use_is_not_touched(node: Node, mocker: MockerFixture) -> None:
    sleep = mocker.patch("time.sleep")
    request = older(node)
    node.change("lv-one-7-0", opened=True)
    before = node.picture()
    with pytest.raises(errors.Busy, match="has it open"):
        clone(node.host(), request, node.settings)
    assert node.picture() == before
    assert [call.args[0] for call in sleep.call_args_list] == list(lvm.BUSY_DELAYS)


def test_a_device_that_is_let_go_after_a_moment_is_waited_for(node: Node, mocker: MockerFixture) -> None:
    request = older(node)
    node.change("lv-one-7-0", opened=True)
    mocker.patch("time.sleep", side_effect=lambda _: node.change("lv-one-7-0", opened=False))
    clone(node.host(), request, node.settings)
    is_cloned(node)


def test_a_snapshot_that_overflowed_is_reported_not_used(thick: Node) -> None:
    clone(thick.host(), thick.clone(), thick.settings)
    thick.change("lv-one-7-0", overflowed=True)
    with pytest.raises(errors.BrokenSnapshot, match="cow_percent"):
        clone(thick.host(), thick.clone(), thick.settings)


def test_a_finished_disk_that_is_inactive_after_a_reboot_is_activated(node: Node) -> None:
    clone(node.host(), node.clone(), node.settings)
    with node.lvm.metadata():
        (node.root / "dev" / VG / "lv-one-7-0").unlink()
    host = node.host()
    assert clone(host, node.clone(), node.settings)["result"] == "there"
    assert programs(host) == ["lvs", "lvchange"]
    is_cloned(node)


def test_a_node_without_the_vg_says_so(node: Node) -> None:
    with pytest.raises(errors.NoVolumeGroup, match="vg-one-5"):
        clone(node.host(), on_datastore_5(node), node.settings)


def on_datastore_5(node: Node) -> Clone:
    return replace(node.clone(), disk=DiskRef(7, 0, 0, 5, str(node.root / "ds/5/7")))


def test_a_vg_without_a_thin_pool_says_so(thin: Node) -> None:
    with thin.lvm.metadata() as vgs:
        del vgs[VG].lvs[names.THIN_POOL]
    with pytest.raises(errors.NoThinPool, match="does not exist"):
        clone(thin.host(), thin.clone(), thin.settings)


def test_a_thin_pool_that_does_not_zero_is_not_used(thin: Node) -> None:
    with thin.lvm.metadata() as vgs:
        vgs[VG].zeroing = False
    with pytest.raises(errors.NoThinPool, match="old data"):
        clone(thin.host(), thin.clone(), thin.settings)


# --- at once


def test_twins_make_one_disk(node: Node) -> None:
    settings, request = node.with_settings(lock_wait=60), node.clone()
    results = at_once([lambda: clone(node.host(), request, settings)["result"]] * 4)
    assert sorted(map(str, results)) == ["made", "there", "there", "there"]
    is_cloned(node)


def test_sixteen_clones_on_a_cold_cache_read_the_image_once(node: Node) -> None:
    settings = node.with_settings(lock_wait=60)
    hosts = [node.host() for _ in range(16)]
    requests = [node.clone(vm) for vm in range(16)]
    at_once([partial(clone, host, request, settings) for host, request in zip(hosts, requests)])
    assert sum(sum(host.read.values()) for host in hosts) == IMAGE
    assert len(node.origins()) == 1
    assert all(node.disk_holds(node.image_content(), node.disk(vm)) for vm in range(16))


def test_a_failed_fill_does_not_block_the_next_in_line(node: Node) -> None:
    settings, waiting = node.with_settings(lock_wait=60), node.clone(8)
    request = node.clone()

    def fill_and_fail() -> None:
        future = pool.submit(clone, node.host(), waiting, settings)
        second.append(future)
        raise errors.CopyFailed(source=request.image.path, why="the datastore went away")

    second: list[Future[dict[str, object]]] = []
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(errors.CopyFailed):
            clone(node.host(Fault("copy dd", "call", fill_and_fail)), request, settings)
        assert second[0].result()["cache"] == "miss"


def test_a_clone_of_a_cached_image_does_not_wait_for_a_fill(node: Node) -> None:
    clone(node.host(), node.clone(8), node.settings)
    seen: list[dict[str, object]] = []
    other = node.clone(9)
    host = node.host(Fault("copy dd", "call", lambda: seen.append(clone(node.host(), other, node.settings))))
    clone(host, node.clone(name="another"), node.settings)
    assert seen[0]["cache"] == "hit"


def test_twin_processes_make_one_disk(node: Node) -> None:
    settings, request = node.with_settings(lock_wait=60), node.clone()
    children = [Child(lambda _: clone(node.host(), request, settings)["result"]) for _ in range(3)]
    assert sorted(child.result() for child in children) == ["made", "there", "there"]
    is_cloned(node)


@pytest.mark.parametrize("disk", [0, -1])
def test_a_delete_during_a_clone_leaves_nothing(node: Node, disk: int) -> None:
    request, before = node.clone(), node.picture()
    settings = node.with_settings(lock_wait=60)

    def clone_and_stop_at_the_copy(child: Child) -> str:
        signals.install()
        host = node.host(Fault("copy dd", "call", child.stay))
        try:
            clone(host, request, settings)
        except errors.Interrupted as e:
            return str(e)
        return "it was not interrupted"

    running = Child(clone_and_stop_at_the_copy)
    running.wait_ready()
    delete(node.host(), node.delete(disk), settings)
    assert "SIGTERM" in running.result()
    assert node.picture() == before

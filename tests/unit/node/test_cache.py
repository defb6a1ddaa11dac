"""What a clone does not show of the cache; its fills are stopped at every step in test_clone.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.host import Fault
from tests.fakes.node import IMAGE, VG, Node
from vafnebula import errors, names
from vafnebula.model import Image
from vafnebula.node import blockcopy, lock, lvm, room, source
from vafnebula.node.cache import ATTEMPTS, Cache


def test_the_snapshot_is_made_of_the_origin_of_the_image(node: Node) -> None:
    image, made = node.image(), []
    cache = Cache(node.host(), VG, node.settings)

    def make(origin: str) -> None:
        if lvm.group(node.host(), VG).find(origin) is None:
            raise errors.NotFound(what=origin, advice="")
        made.append(origin)

    cache.snapshot(image, source.inspect(image.path), IMAGE, make)
    assert made == [names.ORIGIN_PREFIX + node.key()]
    assert cache.facts == {"cache": "miss", "origin": node.key(), "bytes": IMAGE}
    assert node.volume_holds(made[0], node.image_content())


def test_an_origin_that_is_evicted_again_and_again_is_not_chased_for_ever(node: Node) -> None:
    image, tried = node.image(), []
    host = node.host()

    def make(origin: str) -> None:
        tried.append(origin)
        raise errors.NotFound(what=origin, advice="")

    with pytest.raises(errors.NotFound, match="raise cache_min_age"):
        Cache(host, VG, node.settings).snapshot(image, source.inspect(image.path), IMAGE, make)
    assert len(tried) == ATTEMPTS
    assert sum(host.read.values()) == IMAGE  # it is there after the first


def test_an_error_of_the_snapshot_is_no_reason_to_fill(node: Node) -> None:
    image, host = node.image(), node.host()

    def make(origin: str) -> None:
        raise errors.VolumeExists(volume="x", vg=VG)

    with pytest.raises(errors.VolumeExists):
        Cache(host, VG, node.settings).snapshot(image, source.inspect(image.path), IMAGE, make)
    assert host.steps == []


def test_images_of_one_name_in_two_datastores_have_two_origins(node: Node) -> None:
    found = source.inspect(node.image().path)
    keys = {names.origin_key(ds, found.path, found.fingerprint) for ds in (1, 2)}
    assert len(keys) == 2


def test_the_vg_is_not_locked_while_an_image_is_copied(node: Node) -> None:
    image, seen = node.image(), []

    def look() -> None:
        with lock.hold(node.settings.lock_dir, f"vg-{VG}", "", wait=0):
            seen.append("free")
        name = room.origin_lock(VG, node.key())
        with pytest.raises(errors.Busy, match="fill of origin"), lock.hold(node.settings.lock_dir, name, "", wait=0):
            pass

    cache = Cache(node.host(Fault("copy dd", "call", look)), VG, node.settings)
    cache.snapshot(image, source.inspect(image.path), IMAGE, lambda origin: None)
    cache._fill(node.key(), image, source.inspect(image.path), 4 << 20)
    assert seen == ["free"]


def test_a_fill_says_in_tags_what_it_is(node: Node) -> None:
    image = node.image("a name, with blanks & ümlauts.qcow2")
    seen: list[frozenset[str]] = []

    def look() -> None:
        [fill] = [v for v in lvm.group(node.host(), VG).volumes if v.name.startswith(names.FILL_PREFIX)]
        seen.append(fill.tags)

    host = node.host(Fault("copy dd", "call", look))
    cache = Cache(host, VG, node.settings)
    found = source.inspect(image.path)
    cache._fill("0" * 20, image, found, 4 << 20)
    [tags] = seen
    wanted = {names.OURS, f"vaf.run={host.run_id}", f"vaf.print={found.fingerprint}"}
    assert wanted < tags
    assert "vaf.image=1/a_name__with_blanks____mlauts.qcow2" in tags
    assert names.COMPLETE not in tags
    [origin] = node.origins()
    assert node.volumes()[origin].tags == {
        *(t for t in tags if not t.startswith("vaf.reserve")),
        names.COMPLETE,
        f"vaf.holds={blockcopy.bytes_wanted(found) if node.mode == 'thin' else found.file_size}",
    }


def test_one_image_and_two_mount_points_are_one_origin(node: Node) -> None:
    image = node.image()
    (node.root / "other").mkdir()
    Path(node.root / "other/img").hardlink_to(image.path)
    for path in (image.path, str(node.root / "other/img")):
        cache = Cache(node.host(), VG, node.settings)
        cache._fill(node.key(), Image(1, path), source.inspect(path), 4 << 20)
    assert len(node.origins()) == 1

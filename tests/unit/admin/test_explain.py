from __future__ import annotations

import pytest

from tests.unit.admin.sight import KEY, ROOT, disk, origin, view, vm, volume
from vafnebula import names
from vafnebula.admin import explain


def test_the_story_of_a_clone() -> None:
    made = f"{names.ORIGIN_PREFIX}{KEY}"
    seen = view(origin(names.PINNED), disk(7, 0, "vaf.size=1048576", origin=made), disk(8, origin=made))
    story = explain.story(seen, vm(7), 0, ROOT)
    assert (story.volume, story.origin, story.image, story.size) == ("lv-one-7-0", made, "1/img", 1048576)
    text = "\n".join(story.lines)
    assert f"{ROOT}/100/7/disk.0 -> /dev/vg-one-100/lv-one-7-0" in text
    assert "a snapshot of vaf-origin-0123456789abcdef0123, pinned: image 1/img" in text
    assert "1 other volumes are made of it" in text
    assert "for history record 0, where the VM is now" in text


def test_a_disk_that_came_from_elsewhere() -> None:
    text = "\n".join(explain.story(view(disk(7)), vm(7, seq=2), 0, ROOT).lines)
    assert "for history record 0; the VM is at record 2 by now" in text


def test_what_is_wrong_is_said() -> None:
    lost = "\n".join(explain.story(view(), vm(7), 0, ROOT).lines)
    assert "disk.0 is missing: run fsck" in lost
    assert "volume vg-one-100/lv-one-7-0 does not exist: run fsck" in lost
    other = explain.story(view(volume("lv-one-7-0"), links={"100/7/0": "/dev/sda"}), vm(7), 0, ROOT)
    assert any("points to /dev/sda instead of" in line for line in other.lines)
    assert any("was not made by vafnebula" in line for line in other.lines)


def test_what_has_no_story() -> None:
    with pytest.raises(explain.NoSuchDisk, match="its record has 0"):
        explain.story(view(), vm(7), 5, ROOT)
    with pytest.raises(explain.NoSuchDisk, match="no volume group vg-one-300"):
        explain.story(view(), vm(7, sds=300), 0, ROOT)
    with pytest.raises(explain.NoSuchDisk, match="it never ran"):
        explain.story(view(), vm(7, sds=-1, host=""), 0, ROOT)

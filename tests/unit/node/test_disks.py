"""The frame of the deeds is tried by the deeds themselves, step by step; here is the rest of it."""

from __future__ import annotations

import os

import pytest

from tests.fakes.node import Node
from vafnebula import errors
from vafnebula.node import disks, lock


@pytest.mark.parametrize(
    ("directory", "good"),
    [
        ("/var/lib/one/datastores/0/7", True),
        ("/ds/0/7", True),
        ("/0/7", False),
        ("//0/7", False),
        ("/ds/0/7/", False),
        ("/ds/0/./7", False),
        ("/ds/x/../0/7", False),
        ("/ds//0/7", False),
        ("ds/0/7", False),
        ("/ds/1/7", False),
        ("/ds/0/77", False),
        ("/ds/07/7", False),
        ("/ds\n/0/7", False),
        ("", False),
    ],
)
def test_only_a_vms_own_directory_is_its_place(directory: str, good: bool) -> None:
    if good:
        disks.require_place(directory, 0, 7)
    else:
        with pytest.raises(errors.BadArgument):
            disks.require_place(directory, 0, 7)


def test_a_recipe_tells_its_parts_apart() -> None:
    recipes = [disks.recipe("clone", 1, "23"), disks.recipe("clone", 12, "3"), disks.recipe("ln", 1, "23")]
    assert len(set(recipes)) == 3
    assert disks.recipe("clone", 1, "23") == recipes[0]


def test_actions_on_two_disks_of_a_vm_do_not_wait_for_each_other(node: Node) -> None:
    with (
        disks.locked(node.settings, node.disk(disk=0), "clone"),
        disks.locked(node.settings, node.disk(disk=1), "clone"),
    ):
        pass


def test_two_actions_on_a_disk_do(node: Node) -> None:
    with (
        disks.locked(node.settings, node.disk(), "clone"),
        pytest.raises(errors.Busy, match="held by clone of disk 0 of VM 7"),
        disks.locked(node.settings, node.disk(), "mkswap"),
    ):
        pass


def test_the_descriptor_is_the_disks_lock(node: Node) -> None:
    with disks.locked(node.settings, node.disk(), "clone") as fd:
        held = os.fstat(fd).st_ino
        path = f"{node.settings.lock_dir}/vafnebula-{disks.disk_lock(7, 0)}.lock"
        assert os.stat(path).st_ino == held
    lock.interrupt(node.settings.lock_dir, disks.disk_lock(7, 0))

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.fakes.host import signature
from tests.fakes.node import VG, Node, NodeMaker
from tests.unit.node.steps import Case, killed, matrix, survives
from vafnebula import errors
from vafnebula.model import MakeSwap
from vafnebula.node.deeds.mkswap import mkswap


def is_swap(node: Node) -> None:
    assert node.disk_volumes() == ["lv-one-7-0"]
    assert node.disk_holds(signature("mkswap", "swap"))
    assert os.readlink(node.disk().link) == node.disk().device
    assert node.volumes()["lv-one-7-0"].kind == {"thin": "thin", "thick": "snapshot"}[node.mode]


def nothing(node: Node) -> MakeSwap:
    return node.swap()


def unpublished(node: Node) -> MakeSwap:
    killed(mkswap, node, node.swap(), "mkswap")
    assert node.disk_volumes() == ["lv-one-7-0"]
    return node.swap()


def older(node: Node) -> MakeSwap:
    mkswap(node.host(), node.swap(), node.settings)
    node.write_disk("lv-one-7-0", b"pages of the older VM, longer than a signature")
    return node.swap(seq=1)


@matrix([nothing], [unpublished, older])
def test_stopped_at_any_step_leaves_nothing_and_succeeds_when_repeated(
    make_node: NodeMaker, start: Callable[[Node], MakeSwap], mode: str, kind: str
) -> None:
    survives(Case(mkswap, start, is_swap), make_node, mode, kind)


def test_a_swap_disk_is_one_lvm_command_and_one_mkswap(node: Node) -> None:
    host = node.host()
    mkswap(host, node.swap(), node.settings)
    assert [command[0] for command in host.commands] == ["lvcreate"]
    assert [argv[0] for argv in host.formats] == ["mkswap"]


def test_a_finished_swap_disk_is_not_made_again(node: Node) -> None:
    assert mkswap(node.host(), node.swap(), node.settings) == {"result": "made"}
    assert mkswap(node.host(), node.swap(), node.settings) == {"result": "there"}


def test_another_size_or_label_is_another_disk(node: Node) -> None:
    mkswap(node.host(), node.swap(), node.settings)
    assert mkswap(node.host(), replace(node.swap(), size=1 << 23), node.settings) == {"result": "made"}
    assert mkswap(node.host(), replace(node.swap(), size=1 << 23, label="x"), node.settings) == {"result": "made"}


def test_a_full_node_refuses_with_figures(node: Node) -> None:
    node.occupy(1 << 20)
    before = node.picture()
    with pytest.raises(errors.NoRoom, match=r"4194304 bytes wanted, \d+ bytes free") as refusal:
        mkswap(node.host(), node.swap(), node.settings)
    assert VG in str(refusal.value)
    assert node.picture().volumes == before.volumes

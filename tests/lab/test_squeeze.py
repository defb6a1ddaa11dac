"""squeeze with a real libvirt and real QEMU domains: what the kernel's control groups have in the end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.libvirtd import Libvirt, libvirtd
from tests.unit.scale.farm import Farm, scaler
from tests.unit.scale.test_squeeze import FAKES, THIEF, keeper, vm
from vafnebula import errors
from vafnebula.scale import virsh
from vafnebula.scale.policy import SqueezeSection

# the virsh of the node, whose first process is PID
VIRSH = """#!/bin/sh
exec nsenter -t PID -m -n -p /usr/bin/virsh "$@"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libvirt]:
    with libvirtd(tmp_path_factory.mktemp("libvirt")) as made:
        for number, shares in ((1, 1024), (2, 2048), (9, 1024)):
            made.create(f"one-{number}", "--paused", shares=shares)
        yield made


@pytest.fixture(autouse=True)
def through_ssh(node: Libvirt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "ssh").symlink_to(FAKES / "ssh")
    (commands / "virsh").write_text(VIRSH.replace("PID", str(node.pid)))
    (commands / "virsh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")


def shares(node: Libvirt, *numbers: int) -> list[int]:
    return [node.shares(f"one-{number}") for number in numbers]


def test_batch_gives_and_gets_back(node: Libvirt, tmp_path: Path) -> None:
    made = scaler(Farm(), tmp_path / "state")
    one, batch = keeper(made, SqueezeSection(pools=("batch",), cpu=0.1, memory=0.5)), [vm(1), vm(2, cpu=2.0)]
    one.step([*batch, vm(9, **THIEF)])
    assert shares(node, 1, 2, 9) == [103, 205, 1024]
    assert {(held.shares, held.memory) for held in made.state.squeezed.values()} == {(1024, 65536), (2048, 65536)}
    one.step(batch)
    assert shares(node, 1, 2, 9) == [1024, 2048, 1024]
    assert made.state.squeezed == {}
    made.journal.close()


def test_what_nobody_remembers_is_given_back(node: Libvirt, tmp_path: Path) -> None:
    """The monitor sees what another front-end's scaler left."""
    virsh.tune("node1", "one-1", 103, 0)
    made = scaler(Farm(), tmp_path / "state")
    keeper(made).look([vm(1), vm(2, cpu=2.0)])
    assert shares(node, 1, 2) == [1024, 2048]
    made.journal.close()


def test_the_monitor_reads_all_that_are_there(node: Libvirt) -> None:
    found = sorted(virsh.usage("node1", ["one-1", "one-10", "one-2", "one-77"]), key=lambda u: u.domain)
    assert [(u.domain, u.shares, u.memory, u.cap) for u in found] == [
        ("one-1", 1024, 65536, 0),
        ("one-2", 2048, 65536, 0),
    ]
    assert all(u.cpu > 0 for u in found)


def test_a_cap_is_seen(node: Libvirt) -> None:
    node.virsh("schedinfo", "one-9", "--live", "--set", "vcpu_quota=50000")
    [found] = virsh.usage("node1", ["one-9"])
    assert found.cap == 0.5


def test_a_domain_that_is_not_there(node: Libvirt) -> None:
    with pytest.raises(errors.CommandFailed) as caught:
        virsh.tuned("node1", "one-77")
    assert re.search(r"virsh on node1 .*one-77", str(caught.value))

from __future__ import annotations

import io
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.fakes.host import FakeHost, Fault, Killed
from tests.fakes.lvm import EXTENT
from tests.fakes.node import VM, Node
from vafnebula import errors, names, wire
from vafnebula.model_moves import Part, Receive
from vafnebula.node.deeds.receive import receive
from vafnebula.wire import Change

TAGS = [names.OURS, "vaf.vm=7", "vaf.disk=0", "vaf.size=4194304", "vaf.format=raw"]
PART = Part("lv-one-7-0", EXTENT, 8192, TAGS, False, "", "", "", "")
CONTENT = b"parked".ljust(4096, b".")


def stream(*parts: Part, content: bytes = CONTENT) -> bytes:
    out = io.BytesIO()
    writer = wire.Writer(out)
    for part in parts:
        writer.begin(asdict(part))
        writer.change(Change(0, len(content), content))
        writer.end()
    return out.getvalue()


def fed(node: Node, data: bytes, fault: Fault | None = None) -> FakeHost:
    host = node.host(fault)
    host.fed = io.BytesIO(data)
    return host


def request(node: Node, disk: int = 0) -> Receive:
    return Receive(VM, disk, 4, 0, node.disk().directory)


def test_a_parked_disk_comes_back(node: Node) -> None:
    assert receive(fed(node, stream(PART)), request(node), node.settings)["result"] == "moved"
    assert node.disk_holds(CONTENT)
    tags = node.volumes()["lv-one-7-0"].tags
    assert {"vaf.seq=4", "vaf.format=raw"} <= tags
    assert names.PARTIAL not in tags
    assert receive(fed(node, wire.MAGIC), request(node), node.settings) == {"result": "there"}


def test_a_snapshot_comes_along_or_is_refused(node: Node) -> None:
    snapshot = replace(PART, name="lv-one-7-0-s2", tags=[*TAGS, "vaf.snap=2"], readonly=True)
    host = fed(node, stream(PART, snapshot))
    if node.mode == "thick":
        with pytest.raises(errors.CannotMigrate, match="mode thick has no disk snapshots"):
            receive(host, request(node), node.settings)
        assert node.disk_volumes() == []
        return
    receive(host, request(node), node.settings)
    assert node.disk_volumes() == ["lv-one-7-0", "lv-one-7-0-s2"]
    assert node.volumes()["lv-one-7-0-s2"].readonly
    assert node.volume_holds("lv-one-7-0-s2", CONTENT)


@pytest.mark.parametrize("cut", [0, 30, -5])
def test_a_front_end_that_goes_away_leaves_nothing(node: Node, cut: int) -> None:
    data = stream(PART)[:cut] if cut else b""
    with pytest.raises(errors.Error):
        receive(fed(node, data), request(node), node.settings)
    assert node.disk_volumes() == []
    receive(fed(node, stream(PART)), request(node), node.settings)
    assert node.disk_holds(CONTENT)


def test_a_run_that_died_half_way_is_replaced(node: Node) -> None:
    with pytest.raises(Killed):
        receive(fed(node, stream(PART), Fault("receive", "kill")), request(node), node.settings)
    assert names.PARTIAL in node.volumes()["lv-one-7-0"].tags
    receive(fed(node, stream(PART)), request(node), node.settings)
    assert node.disk_holds(CONTENT)


def test_another_disks_volume_is_refused(node: Node) -> None:
    with pytest.raises(errors.BadArgument, match="not of disk 0"):
        receive(fed(node, stream(replace(PART, name="vaf-origin-1"))), request(node), node.settings)
    assert node.disk_volumes() == []


def test_the_rest_tells_what_is_here(node: Node) -> None:
    receive(fed(node, stream(PART)), request(node), node.settings)
    out = io.BytesIO()
    writer = wire.Writer(out)
    writer.begin({"path": "checkpoint", "mode": 0o600, "size": 5})
    writer.change(Change(0, 5, b"state"))
    writer.end()
    facts = receive(fed(node, out.getvalue()), request(node, -1), node.settings)
    assert facts["copied"] == ["lv-one-7-0"]
    assert Path(node.disk().directory, "checkpoint").read_bytes() == b"state"

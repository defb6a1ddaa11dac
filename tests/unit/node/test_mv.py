"""A disk, and then the rest, moves from another system datastore of the node: from another node it is the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fakes.host import FakeHost, Fault
from tests.fakes.lvm import EXTENT, Lv, Vg
from tests.fakes.node import VG, VM, Node, NodeMaker, Picture
from tests.unit.node.steps import Case, is_finished_origin, matrix, survives
from vafnebula import errors, names
from vafnebula.model import Clone, DiskRef
from vafnebula.model_moves import Move, Place, Send
from vafnebula.model_points import SnapCreate, SnapRevert
from vafnebula.node.deeds.clone import clone
from vafnebula.node.deeds.mv import mv
from vafnebula.node.deeds.send import send
from vafnebula.node.deeds.snap_create import snap_create
from vafnebula.node.deeds.snap_revert import snap_revert
from vafnebula.process import Completed

OLD = "vg-one-1"
WORK = b"a day's work"


def old_disk(node: Node, seq: int = 0) -> DiskRef:
    return DiskRef(VM, 0, seq, 1, str(node.root / f"ds/1/{VM}"))


def old(node: Node, size: int = 0) -> None:
    """A disk in the other datastore, which its guest has written to, and a file beside it."""
    with node.lvm.metadata() as vgs:
        vgs[OLD] = Vg(size=64 * EXTENT)
        if node.mode == "thin":
            vgs[OLD].lvs[names.THIN_POOL] = Lv(names.THIN_POOL, 32 * EXTENT, "thin-pool")
    clone(node.host(), Clone(old_disk(node), node.image(), size), node.settings)
    with node.lvm.file(OLD, "lv-one-7-0").open("r+b") as f:
        f.write(WORK)
    Path(old_disk(node).directory, "checkpoint").write_bytes(b"state of the machine")


def move(node: Node, disk: int = 0, seq: int = 1) -> Move:
    place = Place("", 1, old_disk(node).directory, "", "", 1)
    return Move(VM, disk, seq, 0, node.disk().directory, place)


def cold(node: Node) -> Move:
    old(node)
    return move(node)


def warm(node: Node) -> Move:
    """The image is cached here already."""
    old(node)
    clone(node.host(), node.clone(8), node.settings)
    return move(node)


def stale(node: Node) -> Move:
    """What a migration that failed left here: an older copy."""
    old(node)
    mv(node.host(), move(node, seq=1), node.settings)
    node.write_disk("lv-one-7-0", b"something old")
    return move(node, seq=3)


def without_image(node: Node) -> Move:
    """The image's file is gone: no base, all of it must come."""
    old(node)
    os.unlink(node.image().path)
    return move(node)


def content(node: Node) -> bytes:
    return node.lvm.file(OLD, "lv-one-7-0").read_bytes()


def has_moved(node: Node) -> None:
    assert content(node).startswith(WORK)
    assert node.disk_holds(content(node).rstrip(b"\0"))
    volume = node.volumes()["lv-one-7-0"]
    assert names.PARTIAL not in volume.tags
    assert not any(t.startswith("vaf.reserve") for t in volume.tags)


def source_is_whole(node: Node, before: Picture) -> None:
    assert content(node).startswith(WORK)
    assert os.path.islink(old_disk(node).link)
    for name, volume in node.picture().volumes.items():
        assert before.volumes.get(name) == volume or is_finished_origin(name, volume), f"{name} is left behind"


@matrix([cold, warm, without_image])
def test_a_disk_stopped_at_any_step_is_where_it_was_and_comes_when_repeated(
    make_node: NodeMaker, start: object, mode: str, kind: str
) -> None:
    survives(Case(mv, start, has_moved, source_is_whole), make_node, mode, kind)  # type: ignore[arg-type]


@matrix([], [stale])
def test_an_older_copy_is_replaced(make_node: NodeMaker, start: object, mode: str, kind: str) -> None:
    def left(node: Node, before: Picture) -> None:
        assert content(node).startswith(WORK)

    survives(Case(mv, start, has_moved, left), make_node, mode, kind)  # type: ignore[arg-type]


def all_here(node: Node) -> Move:
    old(node)
    mv(node.host(), move(node), node.settings)
    return move(node, disk=-1)


def all_moved(node: Node) -> None:
    assert Path(node.disk().directory, "checkpoint").read_bytes() == b"state of the machine"
    assert node.disk_volumes() == ["lv-one-7-0"]
    assert not os.path.lexists(old_disk(node).directory)
    assert [n for n in node.volumes(OLD) if n.startswith("lv-one")] == []


def nothing_lost(node: Node, before: Picture) -> None:
    files = (Path(d, "checkpoint") for d in (node.disk().directory, old_disk(node).directory))
    assert any(f.exists() for f in files)
    assert node.disk_volumes() == ["lv-one-7-0"]


@matrix([all_here])
def test_the_rest_stopped_at_any_step(make_node: NodeMaker, start: object, mode: str, kind: str) -> None:
    survives(Case(mv, start, all_moved, nothing_lost), make_node, mode, kind)  # type: ignore[arg-type]


def test_the_base_is_used_and_only_changes_travel(node: Node) -> None:
    request = warm(node)
    facts = mv(node.host(), request, node.settings)
    assert facts["base"] == "origin"
    assert isinstance(facts["bytes"], int)
    assert 0 < facts["bytes"] < 5000
    has_moved(node)


class Crossed(FakeHost):
    """Another sender is done with the origin right after this one has made it active, `times` times."""

    times = 1

    def lvm(self, argv: Sequence[str]) -> Completed:
        done = super().lvm(argv)
        if self.times and "-ay" in argv and names.ORIGIN_PREFIX in argv[-1]:
            self.times -= 1
            super().lvm(["-an" if word == "-ay" else word for word in argv if word != "-K"])
        return done


@pytest.mark.parametrize("times", [1, 1000])
def test_two_senders_of_one_origin(thin: Node, times: int) -> None:
    old(thin)
    host, part = Crossed(thin.lvm), Send(VM, 0, 1, old_disk(thin).directory, ["lv-one-7-0"], ["origin"], held=False)
    host.times = times
    if times > 1:
        with pytest.raises(errors.Busy, match="others take its device away again and again"):
            send(host, part, thin.settings)
        return
    send(host, part, thin.settings)
    assert WORK in host.sent.getvalue()
    [origin] = [v for v in thin.volumes(OLD).values() if v.name.startswith(names.ORIGIN_PREFIX)]
    assert not origin.active


def test_a_base_that_only_has_the_same_name_is_not_used(node: Node) -> None:
    old(node)
    node.image(content=b"another image" * 1000)
    facts = mv(node.host(), move(node), node.settings)
    assert facts["base"] == "none"
    has_moved(node)


def test_disk_snapshots_travel_with_a_disk_that_was_reverted(thin: Node) -> None:
    """The disk derives from one of its snapshots, which must be there before the disk is made a snapshot of it."""
    old(thin)
    ref, names_of = old_disk(thin), ("lv-one-7-0", "lv-one-7-0-s1", "lv-one-7-0-s2")

    def guest(text: bytes) -> None:
        with thin.lvm.file(OLD, "lv-one-7-0").open("r+b") as f:
            f.seek(8192)
            f.write(text)

    for number in (1, 2):
        guest(b"before snapshot %d" % number)
        snap_create(thin.host(), SnapCreate(ref, number), thin.settings)
    snap_revert(thin.host(), SnapRevert(ref, 1), thin.settings)
    guest(b"after the revert ")
    held = {name: thin.lvm.file(OLD, name).read_bytes() for name in names_of}
    assert len(set(held.values())) == 3
    mv(thin.host(), move(thin), thin.settings)
    for name, content in held.items():
        assert thin.volume_holds(name, content.rstrip(b"\0")), name
    mv(thin.host(), move(thin, disk=-1), thin.settings)
    assert [n for n in thin.volumes(OLD) if n.startswith("lv-one")] == []


def test_a_disk_larger_than_its_image(node: Node) -> None:
    old(node, size=3 * EXTENT)
    mv(node.host(), move(node), node.settings)
    has_moved(node)
    assert node.volumes()["lv-one-7-0"].size == 3 * EXTENT


def test_the_source_stays_unless_all_has_come(node: Node) -> None:
    old(node)
    before = node.volumes(OLD)
    with pytest.raises(errors.NotCopied, match=r"lv-one-7-0 of VM 7 has no complete copy"):
        mv(node.host(), move(node, disk=-1), node.settings)
    assert node.volumes(OLD) == before
    assert os.path.islink(old_disk(node).link)


def test_a_copy_for_an_older_history_record_does_not_count(node: Node) -> None:
    old(node)
    mv(node.host(), move(node, seq=1), node.settings)
    with pytest.raises(errors.NotCopied):
        mv(node.host(), move(node, disk=-1, seq=3), node.settings)


def test_a_disk_that_is_nowhere(node: Node) -> None:
    old(node)
    place = move(node)
    with node.lvm.metadata() as vgs:
        del vgs[OLD].lvs["lv-one-7-0"]
    with pytest.raises(errors.NotFound, match="is the VM on another node"):
        mv(node.host(), place, node.settings)


def test_a_copy_without_link_that_is_the_only_one_is_kept(node: Node) -> None:
    """Power failed after the source had gone and before the link was on disk."""
    mv(node.host(), all_here(node), node.settings)
    os.unlink(node.disk().link)
    assert mv(node.host(), move(node), node.settings) == {"result": "there"}
    assert node.disk_holds(WORK + node.image_content()[len(WORK) :].rstrip(b"\0"))


def test_a_strangers_volume_or_file_stops_it(node: Node) -> None:
    old(node)
    node.lvm.add(VG, Lv("lv-one-7-0", EXTENT, "linear"))
    with pytest.raises(errors.NotOurs):
        mv(node.host(), move(node), node.settings)
    os.makedirs(node.disk().directory)
    Path(node.disk().link).write_text("somebody's")
    with pytest.raises(errors.NotOurs):
        mv(node.host(), move(node), node.settings)


def test_content_that_is_lost_on_the_way_to_the_disk_is_noticed(node: Node) -> None:
    request = cold(node)
    host = node.host()
    real = host.receive

    def forgetful(reader: object, path: str, size: int) -> None:
        class Forgetful:
            digest = property(lambda self: reader.digest)  # type: ignore[attr-defined]

            def changes(self) -> object:
                return list(reader.changes())[1:]  # type: ignore[attr-defined]

        real(Forgetful(), path, size)  # type: ignore[arg-type]

    host.receive = forgetful  # type: ignore[method-assign,assignment]
    with pytest.raises(errors.CopyFailed, match="does not compare equal"):
        mv(host, request, node.settings)
    assert node.disk_volumes() == []


def test_a_twin_waits_until_the_disk_is_here(node: Node) -> None:
    request = cold(node)

    def twin() -> None:
        with pytest.raises(errors.Busy):
            mv(node.host(), request, node.settings)

    mv(node.host(Fault("converse send", "call", twin)), request, node.settings)
    has_moved(node)
    assert mv(node.host(), request, node.settings) == {"result": "there"}

from __future__ import annotations

from pathlib import Path

from hypothesis import given

from tests.unit.scale.batch.test_slurm import chopped, said
from tests.unit.scale.batch.test_torque import Commands
from vafnebula.scale.batch import BatchView, openpbs
from vafnebula.scale.model import Shape
from vafnebula.units import GIB

DATA = Path(__file__).parents[3] / "data/batch/openpbs-23.06"
QUEUE, NODES = ((DATA / f).read_bytes() for f in ("qstat.json", "pbsnodes.json"))
VIEW = openpbs.parse(QUEUE, NODES)
JOBS = {j.id.split(".")[0]: j for j in VIEW.jobs}


def test_json_that_is_none_is_read_all_the_same() -> None:
    assert (VIEW.complete, VIEW.why) == (True, "")
    assert {k: j.state for k, j in JOBS.items()} == {
        "31": "running", "32[1]": "running", "32[2]": "waiting", "32[3]": "held", "33": "waiting", "34": "held",
        "35": "waiting", "36": "waiting", "37": "held",
    }  # fmt: skip


def test_needs() -> None:
    workq = frozenset({"workq"})
    assert (JOBS["33"].shape, JOBS["33"].nodes, JOBS["33"].spread) == (Shape(2, 2 * GIB, 1, queues=workq), 4, True)
    assert (JOBS["35"].shape.whole, JOBS["35"].nodes) == (True, 4)
    assert (JOBS["36"].shape.features, JOBS["36"].nodes, JOBS["36"].spread) == ({"ssd"}, 8, False)
    assert JOBS["31"].hosts == ("node01",)


def test_what_a_vm_would_not_help() -> None:
    assert JOBS["32[3]"].why == "the array's limit of 2 at a time"
    assert "running job limit" in JOBS["34"].why
    assert JOBS["37"].why == "held"


def test_nodes() -> None:
    assert {n.name: (n.state, n.draining, n.jobs, n.free.cores) for n in VIEW.nodes} == {
        "node01": ("up", False, 1, 0),
        "vaf-3": ("up", False, 1, 7),
        "vaf-4": ("up", True, 0, 8),
        "vaf-5": ("down", False, 0, 8),
    }
    nodes = {n.name: n for n in VIEW.nodes}
    assert nodes["vaf-3"].total.features >= {"ssd", "vaf-3"}
    assert nodes["vaf-3"].total.queues == {"workq"}
    assert nodes["vaf-4"].drained_by_us


def test_several_documents_and_none_at_all() -> None:
    twice = QUEUE.replace(b'"31.head"', b'"41.head"') + b"\n" + QUEUE
    assert len(openpbs.parse(twice, NODES).jobs) == len(VIEW.jobs) + 1
    assert openpbs.parse(b"", b"") == BatchView()


def test_half_a_document_is_not_a_full_answer() -> None:
    assert not openpbs.parse(QUEUE[:-20], NODES).complete
    assert not openpbs.parse(QUEUE, NODES[:-20]).complete
    assert not openpbs.parse(b"[]", NODES).complete


@given(chopped(QUEUE), chopped(NODES))
def test_any_bytes_are_a_view(queue: bytes, nodes: bytes) -> None:
    view = openpbs.parse(queue, nodes)
    assert view.complete == (not view.why)


def test_commands() -> None:
    run = Commands(pbsnodes=said(0, NODES), qstat=said(0, QUEUE))
    batch = openpbs.OpenPbs({"bin": "/opt/pbs/bin"}, run)
    assert batch.observe() == BatchView()  # by their full names the fake knows no answer
    run.told.clear()
    batch.drain("vaf-4", "vafnebula: idle")
    batch.undrain("vaf-4")
    batch.remove("vaf-4")
    assert run.told == [
        ["/opt/pbs/bin/pbsnodes", "-o", "-C", "vafnebula: idle", "vaf-4"],
        ["/opt/pbs/bin/pbsnodes", "-r", "-C", "", "vaf-4"],
        ["/opt/pbs/bin/qmgr", "-c", "delete node vaf-4"],
    ]


def test_a_server_without_nodes_and_one_that_is_away() -> None:
    none = said(1, err=b"pbsnodes: Server has no node list\n")
    assert openpbs.OpenPbs({}, Commands(pbsnodes=none, qstat=said(0, QUEUE))).observe().complete
    away = said(1, err=b"Connection refused\npbsnodes: cannot connect to server head, error=111\n")
    assert not openpbs.OpenPbs({}, Commands(pbsnodes=away)).observe().complete

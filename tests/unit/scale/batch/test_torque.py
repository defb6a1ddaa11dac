from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from tests.unit.scale.batch.test_slurm import chopped, said
from vafnebula import errors, process
from vafnebula.scale.batch import BatchView, torque
from vafnebula.scale.model import Shape
from vafnebula.units import GIB, KIB, MIB

DATA = Path(__file__).parents[3] / "data/batch"
QUEUE2, NODES2 = ((DATA / "torque-2.5" / f).read_bytes() for f in ("qstat.xml", "pbsnodes.xml"))
QUEUE6, NODES6 = ((DATA / "torque-6.1" / f).read_bytes() for f in ("qstat.xml", "pbsnodes.xml"))


def test_version_2() -> None:
    view = torque.parse(QUEUE2, NODES2)
    assert (view.complete, view.why) == (True, "")
    jobs = {j.id.split(".")[0]: j for j in view.jobs}
    assert {k: j.state for k, j in jobs.items()} == {
        "11": "running", "12[1]": "waiting", "12[2]": "waiting", "13": "held", "14": "held",
    }  # fmt: skip
    assert jobs["11"].hosts == ("vaf-3", "node01")
    assert (jobs["11"].nodes, jobs["11"].shape.cores) == (3, 1)
    assert jobs["12[1]"].shape == Shape(2, 2 * GIB, 0, frozenset({"ssd"}), frozenset({"proof"}))
    assert (jobs["13"].why, jobs["14"].shape.cores) == ("it waits for its start time", 4)
    nodes = {n.name: n for n in view.nodes}
    assert {n.name: (n.state, n.draining, n.jobs) for n in view.nodes} == {
        "node01": ("up", False, 1),
        "vaf-3": ("up", False, 1),
        "vaf-4": ("up", True, 0),
        "vaf-5": ("down", False, 0),
        "vaf-6": ("down", True, 0),
    }
    assert (nodes["node01"].free.cores, nodes["node01"].total.memory) == (3, 8062988 * KIB)
    assert nodes["vaf-3"].free.cores == 0
    assert nodes["vaf-4"].drained_by_us


def test_version_6() -> None:
    view = torque.parse(QUEUE6, NODES6)
    assert (view.complete, view.why) == (True, "")
    jobs = {j.id.split(".")[0]: j for j in view.jobs}
    assert jobs["21[0]"].hosts == ("vaf-3", "vaf-4")
    assert jobs["21[1]"].shape == Shape(4, 4 * 512 * MIB, 1, frozenset(), frozenset({"batch"}))
    assert (jobs["22"].nodes, jobs["22"].spread, jobs["22"].shape.cores) == (6, False, 1)
    assert jobs["23"].shape.features == {"node01", "big"}  # no template offers a host's name
    nodes = {n.name: n for n in view.nodes}
    assert (nodes["vaf-3"].jobs, nodes["vaf-3"].free.cores, nodes["vaf-3"].total.gpus) == (1, 0, 1)
    assert (nodes["vaf-4"].jobs, nodes["vaf-4"].free.cores) == (2, 3)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("", 0),
        ("0/12.srv", 1),
        ("0/12.srv, 1/12.srv", 2),
        ("0-3/12.srv", 4),
        ("0-3,5/12.srv,4/13.srv", 6),
        ("0-3", None),
        ("x/12.srv", None),
        ("0-999999999/12.srv", None),
    ],
)
def test_slots(text: str, slots: int | None) -> None:
    found = torque.used(text)
    assert (None if found is None else len(found)) == slots


def test_nothing_printed_is_no_jobs() -> None:
    assert torque.parse(b"", b"") == BatchView()
    assert torque.parse(b"<Data></Data>", b"<Data></Data>") == BatchView()


def test_cut_xml_and_document_types_are_not_believed() -> None:
    assert not torque.parse(QUEUE2[:-10], NODES2).complete
    assert not torque.parse(QUEUE2, NODES2[:-10]).complete
    bomb = b'<!DOCTYPE d [<!ENTITY a "aaaa">]><Data><Job>&a;</Job></Data>'
    assert "document type" in torque.parse(bomb, NODES2).why


@given(chopped(QUEUE6), chopped(NODES2))
def test_any_bytes_are_a_view(queue: bytes, nodes: bytes) -> None:
    view = torque.parse(queue, nodes)
    assert view.complete == (not view.why)


class Commands:
    """Answers by the program's name, and what it was told."""

    def __init__(self, **answers: process.Completed) -> None:
        self.answers, self.told = answers, []  # type: ignore[var-annotated]

    def __call__(self, argv, *, timeout, input=None, check=True, env=None) -> process.Completed:  # type: ignore[no-untyped-def]
        self.told.append((argv, input) if input else argv)
        done = self.answers.get("version" if "--version" in argv else argv[0], said(0))
        if check and done.code:
            raise errors.CommandFailed(program=argv[0], code=done.code, why=done.why)
        return done


def test_the_dialect_is_asked_for_once() -> None:
    run = Commands(version=said(0, b"Version: 6.1.2\n"), pbsnodes=said(0, NODES6), qstat=said(0, QUEUE6))
    batch = torque.Torque({}, run)
    assert batch.observe() == batch.observe() == torque.parse(QUEUE6, NODES6)
    assert len(run.told) == 5
    other = torque.Torque({}, Commands(version=said(0, b"pbs_version = 23.06.06\n"))).observe()
    assert not other.complete
    assert "openpbs" in other.why


def test_a_server_that_is_away_makes_the_view_incomplete() -> None:
    away = said(111, err=b"pbsnodes: cannot connect to server head, error=111 (Connection refused)")
    assert not torque.Torque({}, Commands(pbsnodes=away)).observe().complete


def test_drain_undrain_remove() -> None:
    run = Commands()
    batch = torque.Torque({}, run)
    batch.drain("vaf-4", "vafnebula: idle\nfor long")
    batch.undrain("vaf-4")
    batch.remove("vaf-4")
    assert run.told == [
        ["pbsnodes", "-o", "vaf-4", "-N", "vafnebula: idle for long"],
        ["pbsnodes", "-c", "vaf-4", "-N", ""],
        ["qmgr", "-c", "delete node vaf-4"],
    ]


def test_a_node_that_is_unknown_is_gone_and_a_name_is_not_a_program() -> None:
    unknown = said(170, err=b"qmgr obj=vaf-9 svr=default: Unknown node \n")
    torque.Torque({}, Commands(qmgr=unknown)).remove("vaf-9")
    with pytest.raises(errors.CommandFailed):
        torque.Torque({}, Commands(qmgr=said(1, err=b"Unauthorized Request"))).remove("vaf-9")
    with pytest.raises(errors.BadArgument):
        torque.Torque({}, Commands()).remove("vaf-9\nset server scheduling = False")

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors, process
from vafnebula.scale.batch import BatchView, slurm
from vafnebula.scale.model import Job, Node
from vafnebula.units import MIB

DATA = Path(__file__).parents[3] / "data/batch/slurm-22.05"
QUEUE, NODES, CONFIG = ((DATA / f"{n}.txt").read_bytes() for n in ("squeue", "nodes", "config"))
VIEW = slurm.parse(QUEUE, NODES)
JOBS = {j.id: j for j in VIEW.jobs}


def node_line(state: str, **changed: str) -> bytes:
    """The recorded line of p1 in another state."""
    line = NODES.splitlines()[0].replace(b"State=MIXED+DRAIN", f"State={state}".encode())
    for key, value in changed.items():
        before = next(w for w in line.split() if w.startswith(f"{key}=".encode()))
        line = line.replace(before, f"{key}={value}".encode(), 1)
    return line + b"\n"


def one_node(state: str, **changed: str) -> Node:
    nodes, trouble = slurm.parse_nodes(node_line(state, **changed), {})
    assert not trouble
    return nodes[0]


def test_the_recording_is_understood() -> None:
    assert (VIEW.complete, VIEW.why) == (True, "")
    assert Counter(j.state for j in VIEW.jobs) == {"waiting": 17, "held": 40, "running": 3}


def test_an_array_is_as_many_jobs_as_it_has_elements_within_its_limit() -> None:
    """`4_[1-40%4]`, two of which are already on a node."""
    mine = [j for j in VIEW.jobs if j.id.startswith("4_")]
    assert Counter(j.state for j in mine) == {"running": 2, "waiting": 2, "held": 36}
    assert sorted(j.id for j in VIEW.jobs if j.id.startswith("18_")) == ["18_1", "18_3", "18_7", "18_8", "18_9"]


@pytest.mark.parametrize(
    ("job", "state", "cores", "memory", "gpus", "nodes"),
    [
        ("3", "waiting", 2, 200, 0, 2),  # -N2 -n4
        ("9", "waiting", 1, 100, 2, 1),  # --gres=gpu:2
        ("15", "waiting", 1, 100, 1, 1),  # --gpus=1
        ("5", "waiting", 64, 6400, 0, 1),  # PartitionConfig: a template may have 64 cores
        ("14", "waiting", 4, 3072, 0, 1),  # two partitions
    ],
)
def test_needs(job: str, state: str, cores: int, memory: int, gpus: int, nodes: int) -> None:
    j = JOBS[job]
    assert (j.state, j.shape.cores, j.shape.memory, j.shape.gpus, j.nodes) == (state, cores, memory * MIB, gpus, nodes)


@pytest.mark.parametrize(
    ("job", "why"),
    [("6", "JobHeldUser"), ("7", "DependencyNeverSatisfied"), ("8", "BeginTime"), ("20", "it asks for node p1")],
)
def test_what_a_vm_would_not_help(job: str, why: str) -> None:
    assert (JOBS[job].state, JOBS[job].why) == ("held", why)


def test_exclusive_jobs_and_those_that_take_all_memory_need_a_whole_node() -> None:
    assert JOBS["13"].shape.whole
    assert JOBS["19"].shape.whole
    free, _ = slurm.parse_jobs(QUEUE, memory_counts=False)
    assert not {j.id: j for j in free}["19"].shape.whole


def test_features_types_and_queues() -> None:
    assert JOBS["16"].shape.features == {"physical", "big"}
    assert JOBS["18_7"].shape.features == {"gpu:tesla"}
    assert JOBS["14"].shape.queues == {"batch", "long"}
    assert slurm._features("(vm|big)&fast") == {"vm|big", "fast"}
    assert slurm._features("[a*2&b*1]") == set()


def test_a_drained_node_with_a_job() -> None:
    p1, p2 = VIEW.nodes
    assert (p1.state, p1.draining, p1.jobs, p1.note) == ("up", True, 1, "vafnebula: idle for 10 min")
    assert p1.drained_by_us
    assert (p1.free.cores, p1.total.cores) == (3, 4)
    assert (p2.state, p2.draining, p2.total.gpus) == ("down", True, 2)


@pytest.mark.parametrize(
    ("state", "up", "draining", "busy"),
    [
        ("IDLE", True, False, False),
        ("IDLE+CLOUD", True, False, False),
        ("IDLE+DYNAMIC_NORM", True, False, False),
        ("IDLE+CLOUD+POWERED_DOWN", False, False, False),
        ("IDLE+CLOUD+POWERING_UP", False, False, False),
        ("IDLE*", False, False, False),
        ("IDLE*+CLOUD", False, False, False),
        ("MIXED+CLOUD+NOT_RESPONDING", False, False, True),
        ("MIXED+PLANNED", True, False, True),
        ("IDLE+DRAIN", True, True, False),
        ("IDLE+COMPLETING", True, False, True),
        ("ALLOCATED+DRAIN+CLOUD", True, True, True),
        ("DOWN+DRAIN", False, True, False),
        ("DOWN*+CLOUD", False, False, False),
        ("UNKNOWN", False, False, False),
        ("FUTURE", False, False, False),
        ("A_STATE_OF_TOMORROW", False, False, False),
    ],
)
def test_states(state: str, *, up: bool, draining: bool, busy: bool) -> None:
    node = one_node(state, CPUAlloc="0")
    assert (node.state == "up", node.draining, node.jobs > 0) == (up, draining, busy)


def test_a_reserved_node_is_up_without_room() -> None:
    node = one_node("IDLE+RESERVED", CPUAlloc="0")
    assert (node.state, node.free.cores) == ("up", 0)


def test_a_comment_cannot_pretend() -> None:
    line = node_line("DOWN", CPUAlloc="0").rstrip() + b" Comment=x State=IDLE CPUTot=99\n"
    nodes, _ = slurm.parse_nodes(line, {})
    assert (nodes[0].state, nodes[0].total.cores) == ("down", 4)
    assert nodes[0].note == "vafnebula: idle for 10 min"


def test_no_jobs_and_no_nodes_are_complete_answers() -> None:
    assert slurm.parse(b"", b"No nodes in the system\n") == BatchView()


def test_half_a_line_is_not_a_full_answer() -> None:
    assert not slurm.parse(QUEUE[:-40], NODES).complete
    assert not slurm.parse(QUEUE, NODES + b"NodeName=p3 Arch=x86").complete


def chopped(text: bytes) -> st.SearchStrategy[bytes]:
    """The recording with a piece taken out or random bytes put in."""
    at = st.integers(0, len(text))
    return st.one_of(
        st.tuples(at, at).map(lambda p: text[: min(p)] + text[max(p) :]),
        st.tuples(at, st.binary(max_size=20)).map(lambda p: text[: p[0]] + p[1] + text[p[0] :]),
        st.binary(max_size=200),
    )


@given(chopped(QUEUE), chopped(NODES))
def test_any_bytes_are_a_view(queue: bytes, nodes: bytes) -> None:
    view = slurm.parse(queue, nodes)
    assert view.complete == (not view.why)
    for job in view.jobs:
        assert job.shape.cores >= 1
        assert job.state in ("waiting", "held", "running")
    for node in view.nodes:
        assert 0 <= node.free.cores <= max(node.total.cores, 0)


class Commands:
    """Slurm's commands: what they were told, and answers by their first words."""

    def __init__(self, **answers: process.Completed) -> None:
        self.answers, self.told = answers, []  # type: ignore[var-annotated]

    def __call__(
        self,
        argv: list[str],
        *,
        timeout: float | None,
        input: bytes | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> process.Completed:
        assert timeout
        assert env is not None
        assert not [k for k in env if k.startswith("SQUEUE_")]
        self.told.append(argv)
        word = argv[0] if argv[0] == "squeue" else next(a for a in argv[1:] if not a.startswith("-"))
        if word == "show":
            word = argv[-1] if argv[-1] == "config" else "node"
        done = self.answers.get(word, process.Completed(tuple(argv), 0, b"", b""))
        if check and done.code:
            raise errors.CommandFailed(program=argv[0], code=done.code, why=done.why)
        return done


def said(code: int, out: bytes = b"", err: bytes = b"") -> process.Completed:
    return process.Completed((), code, out, err)


def test_observe_asks_three_things_and_two_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    run = Commands(squeue=said(0, QUEUE), node=said(0, NODES), config=said(0, CONFIG))
    batch = slurm.Slurm({"conf": "/etc/other.conf"}, run)
    assert batch.observe() == VIEW
    assert batch.observe() == VIEW
    assert len(run.told) == 5


def test_a_controller_that_is_away_makes_the_view_incomplete() -> None:
    away = said(1, err=b"slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    view = slurm.Slurm({}, Commands(squeue=away)).observe()
    assert not view.complete
    assert "Unable to contact slurm controller" in view.why


def test_drain_undrain_remove() -> None:
    run = Commands()
    batch = slurm.Slurm({}, run)
    batch.drain("vaf-1", "vafnebula: idle\nfor 10 min")
    batch.undrain("vaf-1")
    batch.remove("vaf-1")
    assert run.told == [
        ["scontrol", "update", "nodename=vaf-1", "state=drain", "reason=vafnebula: idle for 10 min"],
        ["scontrol", "update", "nodename=vaf-1", "state=undrain"],
        ["scontrol", "delete", "nodename=vaf-1"],
    ]


def test_what_is_already_so_is_no_error() -> None:
    """The messages are recorded."""
    slurm.Slurm({}, Commands(update=said(1, err=b"slurm_update error: Invalid node state specified\n"))).undrain("p1")
    gone = b"scontrol: error: failed to delete nodes nope\ndelete_node nodename=nope: Invalid node name specified\n"
    slurm.Slurm({}, Commands(delete=said(1, err=gone))).remove("nope")


def test_a_node_with_jobs_is_not_removed() -> None:
    busy = b"scontrol: error: failed to delete nodes p1\ndelete_node nodename=p1: Requested nodes are busy\n"
    with pytest.raises(errors.CommandFailed, match="busy"):
        slurm.Slurm({}, Commands(delete=said(1, err=busy))).remove("p1")


def test_jobs_are_records() -> None:
    assert all(isinstance(j, Job) for j in VIEW.jobs)

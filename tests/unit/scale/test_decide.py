"""Single decisions, each with the sentence that a person would read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.scale.worlds import GPU, LARGE, SMALL
from vafnebula.scale.decide import Decision, decide
from vafnebula.scale.memory import Memory
from vafnebula.scale.model import (
    Drain,
    Job,
    Node,
    Policy,
    Pool,
    Quota,
    RemoveNode,
    Shape,
    Snapshot,
    Source,
    Start,
    Template,
    Terminate,
    Timers,
    Undrain,
    Vm,
)
from vafnebula.units import GIB

ONE = Shape(1, GIB)
NOW = Source(1000.0)
POOL = Pool("w", (SMALL, LARGE, GPU), quota=Quota(20))
POLICY = Policy((POOL,))


def seen(
    *jobs: Job,
    nodes: tuple[Node, ...] = (),
    vms: tuple[Vm, ...] = (),
    policy: Policy = POLICY,
    memory: Memory | None = None,
) -> Decision:
    return decide(Snapshot(1000.0, NOW, NOW, jobs, nodes, vms), memory or Memory("m"), policy)


def many(count: int, shape: Shape = ONE, nodes: int = 1) -> list[Job]:
    return [Job(f"j{i:03}", shape, nodes=nodes, since=float(i)) for i in range(count)]


def started(decision: Decision) -> list[str]:
    return sorted(a.template for a in decision.actions if isinstance(a, Start))


@pytest.mark.parametrize(
    ("jobs", "templates"),
    [
        (many(1), ["small"]),
        (many(5), ["small", "small"]),
        (many(1, Shape(8, 8 * GIB)), ["large"]),
        (many(1, Shape(1, 30 * GIB)), ["large"]),  # by memory
        (many(1, Shape(1, GIB, 1, frozenset(), frozenset({"gpu"}))), ["gpu"]),
        (many(2, Shape(1, GIB, 0, frozenset({"a100|v100"}))), ["gpu"]),
        (many(1, Shape(1, GIB, 1)) + many(7), ["gpu"]),  # small jobs fill what a large one left
        (many(2, Shape(2, GIB), nodes=2), ["small", "small"]),
        (many(3, Shape(1, GIB, whole=True)), ["small", "small", "small"]),
    ],
)
def test_the_cheapest_way(jobs: list[Job], templates: list[str]) -> None:
    assert started(seen(*jobs)) == templates


def test_an_action_says_for_whom() -> None:
    start = seen(*many(5)).actions[0]
    assert isinstance(start, Start)
    assert (start.pool, start.template_id, start.request) == ("w", 1, "m-1")
    assert start.why == "5 jobs of 1 core, 1 GiB wait, the first is j000"


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (
            replace(POLICY, pools=(replace(POOL, quota=Quota(1)),)),
            "4 jobs get VMs that are started now; 6 jobs must wait",
        ),
        (replace(POLICY, quota=Quota(cores=4)), "the total quota is reached"),
        (replace(POLICY, starts=1), "1 VMs start per cycle, the rest follows"),
        (replace(POLICY, trial=1, pools=(replace(POOL, templates=(SMALL,)),)), "no VM of it has joined yet"),
    ],
)
def test_what_bounds_growth_is_said(policy: Policy, why: str) -> None:
    decision = seen(*many(10, Shape(1, 2 * GIB)), policy=policy)
    assert len(started(decision)) == 1
    assert why in decision.reasons.of_job(many(1, Shape(1, 2 * GIB))[0]).text


def test_held_and_running_jobs_are_explained() -> None:
    held, runs = Job("h", ONE, "held", why="Dependency"), Job("r", ONE, "running", hosts=("vaf-1",))
    decision = seen(held, runs)
    assert decision.actions == ()
    assert decision.reasons.of_job(held).text == "a VM would not help: the batch system says Dependency"
    assert decision.reasons.of_job(runs).text == "it runs on vaf-1"


def test_room_is_used_in_order() -> None:
    """Physical machines, ready VMs, VMs being drained, VMs on their way; then new ones."""
    nodes = (
        Node("p1", Shape(2, 4 * GIB), Shape(2, 4 * GIB)),
        Node("vaf-1", SMALL.shape, Shape(1, 2 * GIB), jobs=3),
        Node("vaf-2", SMALL.shape, SMALL.shape, draining=True, note="vafnebula: idle"),
    )
    vms = tuple(
        Vm(i, "w", f"r{i}", "small", s, f"vaf-{i}") for i, s in ((1, "running"), (2, "running"), (3, "booting"))
    )  # type: ignore[arg-type]
    for jobs, kinds in ((3, [Terminate]), (7, [Undrain]), (11, [Undrain]), (12, [Start, Undrain])):
        assert [type(a) for a in seen(*many(jobs), nodes=nodes, vms=vms).actions] == kinds, jobs


def test_what_a_person_drained_is_left_alone() -> None:
    node = Node("vaf-1", SMALL.shape, SMALL.shape, draining=True, note="disk is bad")
    vm = Vm(1, "w", "r1", "small", "running", "vaf-1")
    decision = seen(*many(1), nodes=(node,), vms=(vm,))
    assert started(decision) == ["small"]
    assert decision.reasons.vms[0].life == "parked"
    assert "disk is bad" in decision.reasons.vms[0].reason.text


def test_least_and_warm_vms() -> None:
    policy = Policy((replace(POOL, min_vms=2, warm_vms=1),))
    assert started(seen(policy=policy)) == ["small", "small"]
    busy = tuple(Node(f"vaf-{i}", SMALL.shape, Shape(0), jobs=4) for i in (1, 2))
    vms = tuple(Vm(i, "w", f"r{i}", "small", "running", f"vaf-{i}") for i in (1, 2))
    assert started(seen(nodes=busy, vms=vms, policy=policy)) == ["small"]


def test_pools_share_the_total() -> None:
    other = Pool("x", (Template("only", 9, Shape(4, 8 * GIB, 0, frozenset({"x"}))),), quota=Quota(5))
    policy = Policy((replace(POOL, templates=(SMALL,)), other), Quota(3))
    decision = seen(*many(40), *[Job(f"x{i}", Shape(1, GIB, 0, frozenset({"x"}))) for i in range(4)], policy=policy)
    assert len(started(decision)) == 3


def life(policy: Policy, snapshots: list[Snapshot]) -> list[tuple[str, ...]]:
    """The ids of the actions of each decision in turn."""
    memory, out = Memory("m"), []
    for snapshot in snapshots:
        decision = decide(snapshot, memory, policy)
        memory = decision.memory
        out.append(tuple(a.id for a in decision.actions))
    return out


def at(
    minute: float, *, nodes: tuple[Node, ...] = (), vms: tuple[Vm, ...] = (), jobs: tuple[Job, ...] = ()
) -> Snapshot:
    source = Source(60.0 * minute)
    return Snapshot(60.0 * minute, source, source, jobs, nodes, vms)


def test_from_idle_to_gone() -> None:
    policy = Policy((replace(POOL, timers=Timers(keep_alive=60.0, job_alive=60.0)),))
    vm = Vm(7, "w", "r", "small", "running", "vaf-7")
    up = Node("vaf-7", SMALL.shape, SMALL.shape)
    drained = replace(up, draining=True, note="vafnebula: idle")
    gone = replace(drained, state="down")
    steps = [
        at(0, nodes=(up,), vms=(vm,)),
        at(1, nodes=(up,), vms=(vm,)),
        at(2, nodes=(up,), vms=(vm,)),  # not drained yet: asked again
        at(3, nodes=(drained,), vms=(vm,)),
        at(4, nodes=(drained,), vms=(replace(vm, state="stopping"),)),
        at(5, nodes=(gone,)),
        at(6),
    ]
    expected = [(), ("drain:7",), ("drain:7",), ("terminate:7",), (), ("remove:vaf-7",), ()]
    assert life(policy, steps) == expected


def test_a_node_that_we_drained_and_whose_vm_nobody_knows_is_removed_in_the_end() -> None:
    stray = Node("vaf-9", SMALL.shape, SMALL.shape, "down", draining=True, note="vafnebula: idle")
    acts = life(POLICY, [at(m, nodes=(stray,)) for m in range(20)])
    assert acts[:15] == [()] * 15
    assert acts[15] == ("remove:vaf-9",)
    assert len([a for a in acts if a]) == 1


def test_a_vm_that_never_ends_is_told_again_and_is_no_supply() -> None:
    vm = Vm(7, "w", "r", "small", "failed", "vaf-7", why="boot failure")
    acts = life(POLICY, [at(m, vms=(vm,)) for m in range(9)])
    assert [i for i, a in enumerate(acts) if a] == [1, 6]
    assert acts[1] == acts[6] == ("terminate:7",)


def test_a_vm_of_an_unknown_pool_is_nothing_to_us() -> None:
    vm = Vm(7, "other", "r", "small", "failed", "vaf-7")
    assert life(POLICY, [at(m, vms=(vm,)) for m in range(9)]) == [()] * 9


def test_all_kinds_of_actions_have_ids_and_reasons() -> None:
    acts = [
        Drain(1, "n", "w", "idle"),
        Undrain(1, "n", "w", "wanted"),
        Terminate(1, "n", "w", "r", False, "drained"),
        RemoveNode("n", 1, "gone"),
        Start("w", "small", 1, "r", ONE, "jobs wait"),
    ]
    assert [a.id for a in acts] == ["drain:1", "undrain:1", "terminate:1", "remove:n", "start:r"]
    assert acts[0].mark == "vafnebula: idle"  # type: ignore[union-attr]

"""Placing by counting is right: held against placing job by job."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vafnebula.scale import demand, fit
from vafnebula.scale.demand import Group
from vafnebula.scale.fit import Bin
from vafnebula.scale.model import Job, Shape, Template

ONE = Shape(1)


def bins(sizes: list[int]) -> list[Bin]:
    return [Bin.of("ready", f"b{i}", Shape(c)) for i, c in enumerate(sizes)]


def possible(sizes: list[int], jobs: int, nodes: int) -> bool:
    """By trying: deal each job's pieces to the roomiest bins, no bin twice."""
    left = list(sizes)
    for _ in range(jobs):
        roomy = sorted(range(len(left)), key=lambda i: -left[i])[:nodes]
        if len(roomy) < nodes or any(left[i] < 1 for i in roomy):
            return False
        for i in roomy:
            left[i] -= 1
    return True


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 8), st.integers(1, 4))
def test_as_many_jobs_are_placed_as_can_be(sizes: list[int], jobs: int, nodes: int) -> None:
    placed = fit.place(Group(ONE, nodes, spread=True), jobs, bins(sizes))
    assert placed.now == max(n for n in range(jobs + 1) if possible(sizes, n, nodes))


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 8), st.integers(1, 4))
def test_pieces_that_may_meet_need_only_slots(sizes: list[int], jobs: int, nodes: int) -> None:
    placed = fit.place(Group(ONE, nodes, spread=False), jobs, bins(sizes))
    assert placed.now == min(jobs, sum(sizes) // nodes)


@given(st.lists(st.integers(0, 5), max_size=5), st.integers(1, 6), st.integers(1, 3), st.integers(1, 4))
def test_the_number_of_new_vms_is_the_least(sizes: list[int], jobs: int, nodes: int, cores: int) -> None:
    group = Group(ONE, nodes, spread=True)
    found = fit.vms_for(group, jobs, Shape(cores), fit.room(ONE, bins(sizes)))
    least = next(v for v in itertools.count() if possible([*sizes, *[cores] * v], jobs, nodes))
    assert found == least


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=6), st.integers(1, 3), st.integers(0, 3))
def test_nothing_is_taken_that_is_not_there(offers: list[tuple[int, int]], cores: int, memory: int) -> None:
    made = [Bin.of("ready", f"b{i}", Shape(c, m)) for i, (c, m) in enumerate(offers)]
    fit.place(Group(Shape(cores, memory), 1, spread=True), 50, made)
    assert all(b.cores >= 0 and b.memory >= 0 for b in made)
    assert all(b.cores < cores or (memory and b.memory < memory) for b in made)


def test_whole_nodes_are_empty_nodes() -> None:
    need = Shape(1, whole=True)
    made = [Bin.of("ready", "busy", Shape(4), jobs=1), Bin.of("ready", "empty", Shape(4))]
    assert fit.place(Group(need, 1, spread=True), 3, made).now == 1
    assert fit.room(ONE, made) == [(made[0], 4)]


def test_the_cheapest_template_depends_on_how_many_jobs_there_are() -> None:
    small, large = Template("small", 1, Shape(2), 3.0), Template("large", 2, Shape(8), 8.0)
    every = [(t, t.shape) for t in (small, large)]
    group = Group(ONE, 1, spread=True)
    assert fit.cheapest(group, 2, every, [])[0][0] is small
    assert fit.cheapest(group, 8, every, [])[0][0] is large


def test_groups_do_not_depend_on_the_order_or_identity_of_jobs() -> None:
    jobs = [Job(f"{i}", Shape(1 + i % 3), since=float(i)) for i in range(9)]
    copies = [Job(j.id, Shape(j.shape.cores), since=j.since) for j in reversed(jobs)]
    assert demand.groups(jobs) == demand.groups(copies)
    assert [(g.shape.cores, g.waiting, g.head) for g in demand.groups(jobs)] == [(3, 3, "2"), (2, 3, "1"), (1, 3, "0")]

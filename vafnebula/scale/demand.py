"""Demand: waiting jobs grouped by what they need.  10 000 jobs are usually a dozen shapes.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from vafnebula.scale.model import Job, Shape


@dataclass
class Group:
    """Jobs of one shape and number of nodes: how many wait and run; `head` has waited longest."""

    shape: Shape
    nodes: int
    spread: bool
    waiting: int = 0
    running: int = 0
    head: str = ""
    since: float = field(default=float("inf"))

    def most(self, jobs: int) -> int:
        """How many pieces of `jobs` jobs one bin can take: one of each job when they are to be spread."""
        return jobs if self.spread else jobs * self.nodes

    @property
    def key(self) -> str:
        """The same for equal groups, for ever: memory knows shapes by it."""
        s = self.shape
        words = [",".join(sorted(f)) for f in (s.features, s.queues)]
        return (
            f"{self.nodes}x{s.cores}c{s.memory}m{s.gpus}g{words[0]}@{words[1]}{'!' * s.whole}{'~' * (not self.spread)}"
        )


def groups(jobs: Iterable[Job]) -> list[Group]:
    """All groups, in an order that does not depend on that of the jobs: most demanding first."""
    by_object: dict[tuple[int, int, bool], Group] = {}  # adapters share Shape objects: hashing an id is cheap
    by_shape: dict[tuple[Shape, int, bool], Group] = {}
    for job in jobs:
        if job.state == "held":
            continue
        nodes = job.nodes if job.nodes > 1 else 1
        spread = job.spread or nodes == 1
        group = by_object.get((id(job.shape), nodes, spread))
        if group is None:
            group = by_shape.get((job.shape, nodes, spread)) or Group(job.shape, nodes, spread)
            by_shape[job.shape, nodes, spread] = by_object[id(job.shape), nodes, spread] = group
        if job.state == "running":
            group.running += 1
            continue
        group.waiting += 1
        if job.since < group.since or (job.since == group.since and job.id < group.head):
            group.head, group.since = job.id, job.since
    return sorted(by_shape.values(), key=_rank)


def _rank(group: Group) -> tuple[object, ...]:
    s = group.shape
    picky = len(s.features) + bool(s.queues)
    return (not s.whole, -s.gpus, -s.cores, -s.memory, -picky, -group.nodes, group.key)

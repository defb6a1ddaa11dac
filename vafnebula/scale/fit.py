"""Demand onto room: what finds place in free slots, in VMs on their way, and how many new VMs the rest needs.  Pure.

A group of n jobs on k different nodes each fits when the sum over all bins of min(times it holds, n) is at least n x k
(deal the pieces out in turn: no job meets a bin twice).  That makes groups, not jobs, the unit of work.  Jobs whose
pieces may share a node need no such limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Callable, Literal

from vafnebula.scale.demand import Group
from vafnebula.scale.model import Shape, Template

Kind = Literal["foreign", "ready", "reclaim", "coming", "new"]


@dataclass
class Bin:
    """Room on one node or VM: `offer` says which kind of job is welcome, the rest what is left.  `jobs` run there."""

    kind: Kind
    name: str
    offer: Shape
    cores: int
    memory: int
    gpus: int
    jobs: int = 0
    taken: int = 0

    @staticmethod
    def of(kind: Kind, name: str, free: Shape, jobs: int = 0) -> Bin:
        return Bin(kind, name, free, free.cores, free.memory, free.gpus, jobs)

    def take(self, need: Shape, times: int) -> None:
        if need.whole:
            self.cores = 0
            self.taken += times
            return
        self.cores -= times * max(1, need.cores)
        self.memory -= times * need.memory
        self.gpus -= times * need.gpus
        self.taken += times


@dataclass
class Placed:
    """Where the jobs of a group went, in jobs; `unused` waits for more room than there may be."""

    now: int = 0
    coming: int = 0
    started: int = 0
    foreign: bool = False


def room(need: Shape, bins: Sequence[Bin], *, foreign: bool = True) -> list[tuple[Bin, int]]:
    """The bins that hold `need`, and how often."""
    found = []
    cores, memory, gpus = max(1, need.cores), need.memory, need.gpus
    welcome: dict[int, bool] = {}
    for b in bins:
        times = b.cores // cores
        if times <= 0:
            continue
        if memory and b.memory < times * memory:
            times = b.memory // memory
        if gpus and b.gpus < times * gpus:
            times = b.gpus // gpus
        if times <= 0 or (b.kind == "foreign" and not foreign):
            continue
        if need.whole:
            if b.jobs or b.taken:
                continue
            times = 1
        ok = welcome.get(id(b.offer))
        if ok is None:
            ok = welcome[id(b.offer)] = b.offer.welcomes(need)
        if ok:
            found.append((b, times))
    return found


def largest(most: int, holds: Callable[[int], bool]) -> int:
    """The largest n from 0 to `most` for which `holds`, which is true up to some n."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def capacity(group: Group, jobs: int, rooms: Sequence[tuple[Bin, int]]) -> int:
    """Pieces that `jobs` jobs of `group` can have in `rooms`."""
    most = group.most(jobs)
    return sum(min(times, most) for _, times in rooms)


def put(group: Group, jobs: int, rooms: Sequence[tuple[Bin, int]]) -> dict[Kind, int]:
    """Take room for `jobs` jobs, first bins first.  Returns pieces by kind of bin."""
    pieces: dict[Kind, int] = {}
    left, most = jobs * group.nodes, group.most(jobs)
    for b, times in rooms:
        if left <= 0:
            break
        n = min(times, most, left)
        b.take(group.shape, n)
        left -= n
        pieces[b.kind] = pieces.get(b.kind, 0) + n
    return pieces


def place(group: Group, jobs: int, bins: Sequence[Bin], *, foreign: bool = True) -> Placed:
    """Put as many of `jobs` jobs of `group` as find room in `bins`."""
    rooms = room(group.shape, bins, foreign=foreign)
    fit = largest(jobs, lambda n: capacity(group, n, rooms) >= n * group.nodes)
    pieces = put(group, fit, rooms)
    soon = -(-pieces.get("coming", 0) // group.nodes)
    return Placed(now=fit - soon, coming=soon, foreign="foreign" in pieces)


def vms_for(group: Group, jobs: int, offer: Shape, rooms: Sequence[tuple[Bin, int]]) -> int | None:
    """New VMs of `offer` so that `jobs` jobs fit beside what is in `rooms`; None when no number would do."""
    times = min(offer.holds(group.shape), group.most(jobs))
    missing = jobs * group.nodes - capacity(group, jobs, rooms)
    if missing <= 0:
        return 0
    return -(-missing // times) if times else None


def cheapest(
    group: Group, jobs: int, options: Iterable[tuple[Template, Shape]], rooms: Sequence[tuple[Bin, int]]
) -> list[tuple[Template, Shape]]:
    """The templates that could run `group` with what they really offer, the cheapest way to run `jobs` of it first."""
    priced = []
    for t, offer in options:
        vms = vms_for(group, jobs, offer, rooms)
        if vms is not None and offer.holds(group.shape):
            idle_gpus = offer.gpus if not group.shape.gpus else 0
            priced.append((vms * t.price, idle_gpus, t.price, t.name, (t, offer)))
    return [p[4] for p in sorted(priced, key=lambda p: p[:4])]

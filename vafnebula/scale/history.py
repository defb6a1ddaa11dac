"""Supply and demand over time: points for the graph, thinned as they age so that a month fits into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vafnebula.scale.loop import Report

MOST = 1440
"""Points that are kept; when there are more, the older half loses every second one."""


@dataclass(frozen=True)
class Point:
    """One look: waiting jobs (those a VM could help), running jobs, VMs ready and on their way."""

    at: float
    waiting: int
    running: int
    ready: int
    coming: int


class History:
    """Points in the order of time.  Only add() changes it, and readers get a tuple: threads need no lock."""

    def __init__(self) -> None:
        self.points: tuple[Point, ...] = ()

    def add(self, report: Report) -> None:
        """Blind looks leave no point: a gap is more honest than a zero."""
        snapshot = report.snapshot
        if not (snapshot.batch.complete and snapshot.cloud.complete):
            return
        states = [job.state for job in snapshot.jobs]
        pools = report.reasons.pools
        point = Point(
            snapshot.now,
            states.count("waiting"),
            states.count("running"),
            sum(p.ready for p in pools),
            sum(p.coming for p in pools),
        )
        last = self.points[-2:]
        if len(last) == 2 and all(replace(p, at=0.0) == replace(point, at=0.0) for p in last):
            self.points = (*self.points[:-1], point)  # nothing moved: the line only gets longer
        else:
            self.points = _thin((*self.points, point))


def _thin(points: Sequence[Point]) -> tuple[Point, ...]:
    if len(points) <= MOST:
        return tuple(points)
    half = len(points) // 2
    return (*points[:half:2], *points[half:])

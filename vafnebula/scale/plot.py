"""What a simulation cost, as a table for a terminal and as a picture.  Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from vafnebula.scale import graph
from vafnebula.scale.clock import span
from vafnebula.scale.history import Point
from vafnebula.scale.simulate import Result

MIDNIGHT = time.mktime((2024, 1, 1, 0, 0, 0, 0, 0, -1))
"""A simulation has no date; the picture's axis wants one."""


def rows(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """A heading and a line per quantity, a column per policy."""
    quantities: dict[str, Callable[[Result], str]] = {
        "jobs started": lambda r: f"{len(r.waits)}",
        "jobs that never started": lambda r: f"{r.unstarted}",
        "wait, median": lambda r: span(r.wait(0.5)),
        "wait, 95th percentile": lambda r: span(r.wait(0.95)),
        "wait, longest": lambda r: span(r.wait(1.0)),
        "VMs launched": lambda r: f"{r.launches}",
        "VMs at most": lambda r: f"{r.most_vms}",
        "VM-hours": lambda r: f"{r.vm_hours:.1f}",
        "of their cores unused": lambda r: f"{100 * r.waste:.0f} %",
        "jobs killed by ending a VM": lambda r: f"{r.killed}",
        "jobs lost with a VM that died": lambda r: f"{r.lost}",
    }
    return [("", *results), *((name, *(show(r) for r in results.values())) for name, show in quantities.items())]


def text(results: Mapping[str, Result]) -> str:
    """The rows as lines, columns aligned."""
    table = rows(results)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for first, *others in table:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def svg(results: Mapping[str, Result]) -> str:
    """Supply and demand in cores, one picture below the other."""
    parts = []
    for i, (name, result) in enumerate(results.items()):
        points = [
            Point(MIDNIGHT + s.at, s.waiting, s.running, s.ready, max(0, s.all - s.ready)) for s in result.samples
        ]
        top = i * (graph.HEIGHT + 24)
        inner = graph.svg(points, f"{name}: supply and demand in cores")
        parts.append(f'<text x="{graph.LEFT}" y="{top + 14}" fill="#777">{name}: cores</text>')
        parts.append(inner.replace("<svg ", f'<svg y="{top + 16}" width="{graph.WIDTH}" height="{graph.HEIGHT}" ', 1))
    height = len(results) * (graph.HEIGHT + 24)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {graph.WIDTH} {height}" '
        f'font-family="system-ui,sans-serif" font-size="12">{"".join(parts)}</svg>\n'
    )

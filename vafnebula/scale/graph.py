"""Supply and demand over time as an SVG: pure, no library, nothing of a user's in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from vafnebula.scale.history import Point

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 960, 240, 44, 28, 14, 12


def svg(points: Sequence[Point], title: str = "supply and demand") -> str:
    """VMs ready and on their way as areas, jobs waiting and running as lines, from the oldest point to the newest."""
    body = _body(points) if len(points) > 1 else _text(WIDTH / 2, HEIGHT / 2, "no history yet", "middle")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}" '
        f'font-family="system-ui,sans-serif" font-size="11">{body}</svg>'
    )


def _body(points: Sequence[Point]) -> str:
    start, end = points[0].at, max(points[-1].at, points[0].at + 1)
    most = _round_up(max(max(p.ready + p.coming, p.waiting, p.running) for p in points))

    def x(at: float) -> float:
        return LEFT + (at - start) / (end - start) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP)

    def steps(value: Callable[[Point], float]) -> str:
        path, before = "", None
        for p in points:
            path += f"M{x(p.at):.1f} {y(value(p)):.1f}" if before is None else f"H{x(p.at):.1f}V{y(value(p)):.1f}"
            before = p
        return path

    def area(value: Callable[[Point], float], colour: str) -> str:
        return f'<path d="{steps(value)}V{y(0):.1f}H{x(start):.1f}Z" fill="{colour}"/>'

    def line(value: Callable[[Point], float], colour: str, dash: str = "") -> str:
        style = f' stroke-dasharray="{dash}"' if dash else ""
        return f'<path d="{steps(value)}" fill="none" stroke="{colour}" stroke-width="1.8"{style}/>'

    grid = "".join(
        f'<path d="M{LEFT} {y(v):.1f}H{WIDTH - RIGHT}" stroke="#8884" stroke-width="1"/>'
        + _text(LEFT - 6, y(v) + 4, f"{v:g}", "end")
        for v in (0, most / 2, most)
    )
    hours = "".join(
        _text(
            x(start + part * (end - start)),
            HEIGHT - 9,
            time.strftime("%d %b %H:%M", time.localtime(start + part * (end - start))),
            "start" if part == 0 else "end" if part == 1 else "middle",
        )
        for part in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        area(lambda p: p.ready + p.coming, "#a5c8ef")
        + area(lambda p: p.ready, "#4a8fd8")
        + grid
        + line(lambda p: p.running, "#1b7f4b")
        + line(lambda p: p.waiting, "#d1481f", "5 3")
        + hours
    )


def _round_up(value: float) -> float:
    """The next round number, even, so that its half is whole."""
    return next(float(m * 10**e) for e in range(7) for m in (2, 4, 6, 8, 10) if m * 10**e >= value)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#777">{text}</text>'

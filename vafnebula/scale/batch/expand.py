"""Lists that batch systems write short: array elements, host lists, slot ranges.  Pure; None or () for what is none."""

from __future__ import annotations

import re

MOST = 200_000
"""More jobs, or elements of one list, are not expanded: whoever asks is told that the view is incomplete."""

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([0-9]{1,9}))?)?")


def ranges(text: str) -> list[int] | None:
    """`1,3,7-9,0-10:2` as numbers."""
    out: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if not found:
            return None
        first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        if step < 1 or last < first or (last - first) // step + len(out) >= MOST:
            return None
        out += range(first, last + 1, step)
    return out


def elements(text: str) -> tuple[list[int], int | None] | None:
    """`1-40%4` as the elements and how many may run at a time, None for no limit."""
    body, sign, limit = text.partition("%")
    numbers = ranges(body)
    if numbers is None or (sign and not (limit.isascii() and limit.isdigit() and len(limit) < 10)):
        return None
    return numbers, int(limit) if sign else None


_PART = re.compile(r"[^,\[\]]*(?:\[[^\]]*\][^,\[\]]*)*")


def hosts(text: str) -> tuple[str, ...]:
    """`p[1-2,05-07],x3` as names, with leading zeros kept; what cannot be read stays as it is written."""
    if "[" not in text and "," not in text:
        return () if text in ("", "(null)") else (text,)
    out: list[str] = []
    for part in _PART.findall(text.strip()):
        if not part or part == "(null)":
            continue
        names = [""]
        for i, piece in enumerate(re.split(r"\[([^\]]*)\]", part)):
            choices = [piece] if i % 2 == 0 else _padded(piece)
            if choices is None or len(names) * len(choices) + len(out) > MOST:
                names = [part]
                break
            names = [n + c for n in names for c in choices]
        out += names
    return tuple(out)


def _padded(text: str) -> list[str] | None:
    out: list[str] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part)
        if not found:
            return None
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last - first + len(out) >= MOST:
            return None
        out += [str(n).zfill(len(found[1])) for n in range(first, last + 1)]
    return out

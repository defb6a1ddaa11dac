"""Traces of jobs for the simulator: CSV of ours, or the Standard Workload Format of the Parallel Workloads Archive.

    submit,seconds,cores,memory,gpus,nodes,count,features,queue
    0,600,1,1GiB,0,1,40,,
    900,3600,8,16GiB,1,1,2,a100,gpu

Only submit (seconds from the beginning) and seconds (of running) must be there; `count` jobs arrive at once; several
features or queues are separated by blanks.  A file with `;` comments or without a header is read as SWF.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from vafnebula import errors
from vafnebula.scale.model import Shape
from vafnebula.scale.policy import BYTES, SIZE
from vafnebula.scale.world import Work
from vafnebula.units import KIB

COLUMNS = ("submit", "seconds", "cores", "memory", "gpus", "nodes", "count", "features", "queue")
MOST = 1_000_000


class BadTrace(errors.RequestError):
    sentence = "{path}:{line}: {why}; see docs/scaling.md for the columns of a trace"


def load(path: Path) -> list[Work]:
    """Raises BadTrace with the first line that cannot be read, BadArgument when the file cannot."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise errors.BadArgument(what="trace", value=str(path), why=errors.one_line(str(e), 100)) from e
    return parse(text, str(path))


def parse(text: str, name: str = "trace") -> list[Work]:
    """Jobs in the order of the file.  Raises BadTrace."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lstrip().startswith(";") or len(first.split()) >= 18:
        return _swf(text, name)
    reader = csv.DictReader(io.StringIO(text, newline=None))
    try:
        columns, rows = set(reader.fieldnames or []), [(reader.line_num, row) for row in reader]
    except csv.Error as e:
        raise BadTrace(path=name, line=reader.line_num or 1, why=f"it is no CSV: {e}") from e
    unknown = sorted(columns - set(COLUMNS), key=str)
    if unknown or not {"submit", "seconds"} <= columns:
        why = f"unknown column {unknown[0]!r}" if unknown else "no columns submit and seconds"
        raise BadTrace(path=name, line=1, why=why)
    works: list[Work] = []
    for line, row in rows:
        try:
            count = _count(row.get("count") or "1", MOST - len(works))
            submit, seconds = _time(row["submit"]), _time(row["seconds"])
            shape, nodes = _shape(row), int(row.get("nodes") or 1)
        except (ValueError, TypeError, KeyError) as e:
            raise BadTrace(path=name, line=line, why=errors.one_line(str(e), 100)) from e
        works += [Work(f"{line}.{i}", shape, submit, seconds, nodes) for i in range(count)]
    return works


def _count(text: str, most: int) -> int:
    if not 1 <= int(text) <= most:
        raise ValueError(f"count {text} is not from 1 to {most}")
    return int(text)


def _time(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError(f"{text} is no time in seconds")
    return value


def _shape(row: Mapping[str, str | None]) -> Shape:
    memory = row.get("memory") or "0MiB"
    size = SIZE.fullmatch(memory)
    cores, gpus = int(row.get("cores") or 1), int(row.get("gpus") or 0)
    if not size or cores < 1 or gpus < 0:
        raise ValueError(f"{cores} cores, {memory}, {gpus} GPUs are no size of a job")
    features, queue = (frozenset((row.get(k) or "").split()) for k in ("features", "queue"))
    return Shape(cores, int(size[1]) * BYTES[size[2]], gpus, features, queue)


def _swf(text: str, name: str) -> list[Work]:
    """Fields 1, 2, 4, 5, 8, 10: job, submit, run time, processors, those asked for, KiB asked for per processor."""
    works: list[Work] = []
    for line, content in enumerate(text.splitlines(), 1):
        fields = content.split(";")[0].split()
        if not fields:
            continue
        try:
            numbers = [float(f) for f in fields]
            job, submit, seconds = int(numbers[0]), numbers[1], numbers[3]
            cores = int(numbers[7] if numbers[7] > 0 else numbers[4])
            memory = int(max(0.0, numbers[9]) * KIB * cores)
        except (ValueError, IndexError, OverflowError) as e:
            raise BadTrace(path=name, line=line, why="it has no 18 numbers as SWF wants them") from e
        if seconds < 0 or cores < 1 or submit < 0:
            continue  # cancelled before it ran
        if len(works) >= MOST:
            raise BadTrace(path=name, line=line, why=f"more than {MOST} jobs")
        works.append(Work(str(job), Shape(cores, memory), submit, seconds))
    return works

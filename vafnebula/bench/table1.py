"""T1: the 2012 paper's Table 1: time to make a scratch disk of 20 and 40 GB, XFS and ext3, on sparse disks."""

from __future__ import annotations

from functools import partial

from vafnebula import units
from vafnebula.bench.record import Record, plain, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import MODES, Stage

SIZES = (20 * units.GIB, 40 * units.GIB)
FILESYSTEMS = ("xfs", "ext3")


def measure(stage: Stage) -> list[Record]:
    cases: dict[str, Case] = {}
    for mode in MODES:
        for filesystem in FILESYSTEMS:
            for size in SIZES:
                name = f"{mode} {filesystem} {size // units.GIB} GiB"
                cases[name] = stage.after(partial(stage.scratch_seconds, mode, size, filesystem))
    took = stage.alternate(cases)
    seconds = [plain("T1", f"{name}: deed", "s, here", samples) for name, samples in took.items()]
    growth = [
        ratio("T1", f"{mode} {filesystem}: 40 beside 20 GiB", "ratio", took[f"{mode} {filesystem} 40 GiB"],
              took[f"{mode} {filesystem} 20 GiB"])
        for mode in MODES for filesystem in FILESYSTEMS
    ]  # fmt: skip
    return [*seconds, *growth]

"""M10: an XFS scratch disk, beside zeroing a plain volume and making the file system on it."""

from __future__ import annotations

from functools import partial

from vafnebula import names, units
from vafnebula.bench.onnode import step, timed
from vafnebula.bench.record import Record, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import MODES, SDS, Stage

SMALL, LARGE = 3 * units.GIB, 30 * units.GIB
FASTER = 1 / 5
FLAT = 1.2


def measure(stage: Stage) -> list[Record]:
    cases: dict[str, Case] = {"zero": stage.after(lambda: _zero_and_format(stage, SMALL))}
    for mode in MODES:
        for size in (SMALL, LARGE):
            name = f"{mode} {units.human(size)}"
            cases[name] = stage.after(partial(stage.scratch_seconds, mode, size, "xfs"))
    took = stage.alternate(cases)
    records = []
    for mode in MODES:
        small, large = took[f"{mode} {units.human(SMALL)}"], took[f"{mode} {units.human(LARGE)}"]
        records += [
            ratio("M10", f"{mode} xfs 3 GiB: deed", "ratio to zeroing and mkfs", small, took["zero"], FASTER),
            ratio("M10", f"{mode} xfs 30 GiB: deed", "ratio to 3 GiB", large, small, FLAT),
        ]
    return records


def _zero_and_format(stage: Stage, size: int) -> float:
    """Seconds of what OpenNebula's LVM drivers do: a plain volume, zeros over all of it, mkfs."""
    vg = names.vg(SDS["thick"])
    device = names.device(vg, "reference")
    steps = [
        stage.fresh("thick", size),
        step("dd", "if=/dev/zero", f"of={device}", "bs=64k", f"count={size // (64 * units.KIB)}", "conv=fdatasync"),
        step("mkfs.xfs", "-q", "-f", device),
    ]
    return sum(ended.seconds for ended in timed(stage.lab, stage.node, steps, user="root"))

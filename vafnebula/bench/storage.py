"""The storage benchmark: all its measurements, in the order of their weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vafnebula import errors
from vafnebula.bench import (
    baselines,
    chunks,
    cold,
    counts,
    crowd,
    delete,
    many,
    migration,
    poolfull,
    report,
    scratch,
    sparse,
    table1,
    together,
    warm,
)
from vafnebula.bench.record import HEADINGS, Record, cells
from vafnebula.bench.stage import DISK, SDS, Stage
from vafnebula.demo.screen import Screen
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import OpenNebula

FULL, QUICK = (5, 1), (2, 4)  # rounds, and how many times smaller large images are

MEASUREMENTS: dict[str, tuple[str, Callable[[Stage], list[Record]]]] = {
    "M1": ("a clone from a filled cache", warm.measure),
    "M2": ("a clone that fills the cache", cold.measure),
    "B": ("what is replaced: the image over ssh for every VM", baselines.measure),
    "M3": ("many clones at once", crowd.measure),
    "M4": ("programs that an action starts", counts.measure),
    "M6": ("first write by chunk size", chunks.measure),
    "M5": ("images with holes", sparse.measure),
    "M10": ("scratch disks", scratch.measure),
    "T1": ("Table 1 of the 2012 paper: XFS and ext3", table1.measure),
    "M8": ("deletion", delete.measure),
    "M7": ("VMs of one image that work together", together.measure),
    "M12": ("a thin pool that fills up", poolfull.measure),
    "M9": ("cold migration", migration.measure),
    "M14": ("a clone among many volumes", many.measure),
}
NODES = {"M9": migration.NODES}  # one where nothing is said

GRIDS = ("M4", "M6", "M7")


def chosen(only: str) -> list[str]:
    """`M1,M2` -> ids in their order here; all of them for ''.  Raises BadArgument."""
    wanted = [w.strip().upper() for w in only.split(",") if w.strip()] or list(MEASUREMENTS)
    for name in wanted:
        if name not in MEASUREMENTS:
            raise errors.BadArgument(what="measurement", value=name, why=f"there are {', '.join(MEASUREMENTS)}")
    return [name for name in MEASUREMENTS if name in wanted]


def nodes(only: Sequence[str]) -> int:
    """How many nodes the measurements `only` need."""
    return max(NODES.get(name, 1) for name in only)


def run(
    screen: Screen, only: Sequence[str], *, quick: bool, rounds: int | None, keep: Callable[[list[Record]], None]
) -> list[Record]:
    """Boot a lab and measure `only`; `keep` gets all records so far after each measurement.  Raises errors.Error.

    `rounds` overrides how often each case is measured.
    """
    records: list[Record] = []
    count = nodes(only)
    with screen.step(f"Booting {count} hypervisor node{'s' * (count > 1)} and GlusterFS") as shown:
        lab = Lab.up(nodes=count, sds={sds: mode for mode, sds in SDS.items()}, disk=DISK, progress=shown.note)
    with lab, OpenNebula(lab) as one:
        usual, smaller = QUICK if quick else FULL
        stage = Stage(lab, one, rounds or usual, smaller)
        for name in only:
            title, measure = MEASUREMENTS[name]
            with screen.step(f"{name}: {title}") as shown, stage.showing(shown):
                found = measure(stage)
                records += found
                shown.done(f"{len(found)} results")
            keep(records)
    return records


def markdown(records: Sequence[Record]) -> str:
    """The tables of docs/benchmarks.md."""
    return report.sections(records, {name: title for name, (title, _) in MEASUREMENTS.items()}, GRIDS)


def show(screen: Screen, records: Sequence[Record]) -> None:
    screen.line()
    numeric = ("median", "min", "goal")
    screen.table([(h, h in numeric) for h in HEADINGS], [list(cells(r)) for r in records])

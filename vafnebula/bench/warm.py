"""M1: a clone from a filled cache, beside one bare `lvcreate -s`."""

from __future__ import annotations

from vafnebula import names, units
from vafnebula.bench.onnode import step, timed
from vafnebula.bench.record import Record, plain, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import MODES, Stage
from vafnebula.lab.opennebula import Image

SIZES = (units.GIB, 4 * units.GIB)
HOLES = 90  # percent: what is copied before the measurement does not matter for it


def measure(stage: Stage) -> list[Record]:
    images = {size: stage.image(size, HOLES) for size in SIZES}
    process: dict[str, list[float]] = {}
    cases: dict[str, Case] = {}
    for mode in MODES:
        for size, image in images.items():
            name = f"{mode} {units.human(size)}"
            stage.tell(f"filling the cache: {name}")
            origin = names.ORIGIN_PREFIX + str(stage.deed(mode, image).facts["origin"])
            stage.clone(mode, image)
            stage.clear()
            cases.update(_cases(stage, name, mode, image, origin, process.setdefault(name, [])))
    took = stage.alternate(cases)
    stage.clear(origins=True)
    return [record for name in process for record in _records(name, took, process[name])] + [
        ratio("M1", f"{m} 4 GiB beside 1 GiB: action", "ratio", took[f"{m} 4 GiB: action"], took[f"{m} 1 GiB: action"])
        for m in MODES
    ]


def _cases(stage: Stage, name: str, mode: str, image: Image, origin: str, process: list[float]) -> dict[str, Case]:
    bare = stage.bare(mode, origin, image.size)

    def deed() -> float:
        done = stage.deed(mode, image)
        process.append(done.process)
        return done.seconds

    return {
        f"{name}: S": stage.after(lambda: timed(stage.lab, stage.node, [step(*bare)])[0].seconds),
        f"{name}: deed": stage.after(deed),
        f"{name}: ssh S": stage.after(lambda: stage.one.run(["ssh", "--", stage.node, *bare]).seconds),
        f"{name}: action": stage.after(lambda: stage.clone(mode, image).seconds),
    }


def _records(name: str, took: dict[str, list[float]], process: list[float]) -> list[Record]:
    bare, remote = took[f"{name}: S"], took[f"{name}: ssh S"]
    return [
        ratio("M1", f"{name}: deed on the node", "ratio to S", took[f"{name}: deed"], bare, 1.5),
        ratio("M1", f"{name}: node process", "ratio to S", process, bare),
        ratio("M1", f"{name}: whole action", "ratio to ssh S", took[f"{name}: action"], remote, 3),
        plain("M1", f"{name}: S itself", "s, here", bare),
        plain("M1", f"{name}: ssh S itself", "s, here", remote),
    ]

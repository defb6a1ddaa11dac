"""M2: a clone that fills the cache first, beside a raw `dd` of the same bytes into an empty volume."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from vafnebula import names, units
from vafnebula.bench.onnode import step, timed
from vafnebula.bench.record import Record, plain, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import MODES, Stage
from vafnebula.lab.opennebula import Image
from vafnebula.model import Settings

SIZE = units.GIB
ALLOWED = 1.15
DIRECT = ("iflag=direct", "oflag=direct")
DD = ("dd", "if={image}", "of={device}")
P = (*DD, "bs=1M", *DIRECT)
SETTINGS: dict[str, dict[str, Any]] = {
    "2 reads in flight": {"copy_streams": 2},
    "4 reads in flight": {"copy_streams": 4},
    "read back and compared (verify)": {"verify": True},
}
VARIANTS = {
    "dd bs=4M, direct": (*DD, "bs=4M", *DIRECT),
    "dd bs=64k, direct": (*DD, "bs=64k", *DIRECT),
    "dd bs=1M, through the page cache, conv=fsync": (*DD, "bs=1M", "conv=fsync"),
    "dd bs=64k conv=fdatasync, OpenNebula's own": (*DD, "bs=64k", "conv=fdatasync"),
}


def measure(stage: Stage) -> list[Record]:
    image = stage.image(SIZE // stage.share)
    return [record for mode in MODES for record in _mode(stage, mode, image)]


def _mode(stage: Stage, mode: str, image: Image) -> list[Record]:
    plainly = Settings(mode=mode)
    origin = names.ORIGIN_PREFIX + str(stage.deed(mode, image).facts["origin"])
    stage.clear()
    bare = stage.bare(mode, origin, image.size)
    snapshots = [timed(stage.lab, stage.node, [step(*bare)])[0].seconds]
    stage.clear(origins=True)
    cases: dict[str, Case] = {
        "P": lambda: stage.into_fresh(mode, image, *P),
        "action": lambda: cold(stage, image, lambda: stage.clone(mode, image).seconds),
        "deed": partial(_cold_deed, stage, mode, image, plainly),
    }
    if mode == "thin":
        for name, settings in SETTINGS.items():
            with_it = replace(plainly, **settings)
            cases[name] = partial(_cold_deed, stage, mode, image, with_it)
        cases.update({name: partial(stage.into_fresh, mode, image, *words) for name, words in VARIANTS.items()})
    took = stage.alternate({f"{mode}: {name}": case for name, case in cases.items()})
    took = {name.removeprefix(f"{mode}: "): samples for name, samples in took.items()}
    allowed = [ALLOWED * p + min(snapshots) for p in took["P"]]
    full = f"{mode} {units.human(image.size)} full"
    return [
        ratio("M2", f"{full}: whole action", "ratio to 1.15 P + S", took["action"], allowed, 1),
        ratio("M2", f"{full}: deed on the node", "ratio to 1.15 P + S", took["deed"], allowed, 1),
        ratio("M2", f"{full}: deed on the node", "ratio to P", took["deed"], took["P"]),
        *(
            ratio("M2", f"{full}: deed, {name}", "ratio to P", took[name], took["P"])
            for name in SETTINGS
            if name in took
        ),
        *(ratio("M2", f"{full}: {name}", "ratio to P", took[name], took["P"]) for name in VARIANTS if name in took),
        plain("M2", f"{full}: P itself", "MiB/s, here", [image.size / units.MIB / p for p in took["P"]]),
    ]


def _cold_deed(stage: Stage, mode: str, image: Image, settings: Settings) -> float:
    return cold(stage, image, lambda: stage.deed(mode, image, settings).seconds)


def cold(stage: Stage, image: Image, case: Case) -> float:
    """`case` with nothing of the image on the node, and nothing left there after it."""
    stage.forget(image)
    value = case()
    stage.clear(origins=True)
    return value

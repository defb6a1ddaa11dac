"""M3: many clones at once.  What counts is what was read from the datastore: the image once, however many want it."""

from __future__ import annotations

import statistics
import time

from vafnebula import names, units
from vafnebula.bench.onnode import step, timed
from vafnebula.bench.record import Record, plain, ratio
from vafnebula.bench.stage import MODES, SDS, Stage
from vafnebula.lab.opennebula import PATIENCE, Image, checked

SIZE = units.GIB // 4
CROWDS = {"thin": (1, 4, 16), "thick": (16,)}
SLACK = 1.2  # a crowd of N may take N x S x SLACK
BEHIND = units.GIB  # the image whose fill a clone of another one must not wait for


def measure(stage: Stage) -> list[Record]:
    image, large = stage.image(SIZE), stage.image(BEHIND)
    records = []
    for mode in MODES:
        for count in CROWDS[mode]:
            records += _crowd(stage, mode, image, count)
        records += _behind(stage, mode, image, large)
    return records


def _crowd(stage: Stage, mode: str, image: Image, count: int) -> list[Record]:
    """`count` clones at once, first on an empty cache, then on a filled one; S in between."""
    cold, warm, bare, read_cold, read_warm = [], [], [], [], []
    for n in range(stage.rounds):
        stage.tell(f"round {n + 1} of {stage.rounds}: {mode}, {count} at once")
        stage.forget(image)
        before = brick_read(stage)
        cold.append(_at_once(stage, mode, image, count))
        read_cold.append((brick_read(stage) - before) / image.size)
        stage.clear()
        origin = names.ORIGIN_PREFIX + str(stage.deed(mode, image).facts["origin"])
        stage.clear()
        bare.append(timed(stage.lab, stage.node, [step(*stage.bare(mode, origin, image.size))])[0].seconds * count)
        stage.clear()
        stage.forget(image)
        before = brick_read(stage)
        warm.append(_at_once(stage, mode, image, count))
        read_warm.append((brick_read(stage) - before) / image.size)
        stage.clear(origins=True)
    case = f"{mode} {count} at once"
    return [
        plain("M3", f"{case}, cold: read from the brick", "x image", read_cold, 1.02),
        plain("M3", f"{case}, warm: read from the brick", "x image", read_warm, 0.01),
        ratio("M3", f"{case}, warm: from first to last", f"ratio to {count} x S", warm, bare, SLACK),
        ratio("M3", f"{case}, cold beside warm", "ratio", cold, warm),
    ]


def _at_once(stage: Stage, mode: str, image: Image, count: int) -> float:
    began = time.monotonic()
    for future in [stage.begin(mode, image) for _ in range(count)]:
        checked(future.result(PATIENCE))
    return time.monotonic() - began


def _behind(stage: Stage, mode: str, image: Image, large: Image) -> list[Record]:
    """A clone of a cached image alone, and while another image is filled."""
    alone, meanwhile, waited = [], [], []
    for n in range(stage.rounds):
        stage.tell(f"round {n + 1} of {stage.rounds}: {mode}, a clone beside another image's fill")
        stage.clone(mode, image)
        alone.append(stage.clone(mode, image).seconds)
        stage.forget(large)
        fill = stage.begin(mode, large)
        while "vaf-fill-" not in stage.sh("lvs --noheadings -o lv_name $1", names.vg(SDS[mode])):
            if fill.done():
                break
        meanwhile.append(stage.clone(mode, image).seconds)
        waited.append(float(fill.done()))
        checked(fill.result(PATIENCE))
        stage.clear(origins=True)
    return [
        plain("M3", f"{mode}: clones that ended after another image's fill", "of 1", [statistics.mean(waited)], 0),
        ratio("M3", f"{mode}: clone beside another image's fill", "ratio to alone", meanwhile, alone),
    ]


def brick_read(stage: Stage) -> int:
    """Bytes that the brick's process has read, from disk or page cache (its messages from clients included)."""
    script = "sed -n 's/^rchar: //p' /proc/$(pgrep -x glusterfsd)/io"
    return int(stage.lab.run(["sh", "-euc", script], user="root").out)

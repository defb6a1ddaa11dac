"""What vafnebula replaces: the image file copied to the node over ssh for every VM, written by us.

    copy   the file is copied to the node's file system, then `dd` puts it into a fresh volume
    tar    tar reads the file on the front-end, ssh carries it, `dd bs=64k conv=fdatasync` writes the volume

Each makes one VM's disk and carries the whole image every time, into a plain volume.
"""

from __future__ import annotations

import shlex
from functools import partial

from vafnebula import names, units
from vafnebula.bench.cold import cold
from vafnebula.bench.record import Record, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import SDS, Stage
from vafnebula.lab.opennebula import Image

SIZE = units.GIB
GOAL_WARM = 1 / 20
# $1 node, $2 image file, $3 the command that makes the volume, $4 its device
COPY = """
ssh -- "$1" "$3"
scp -q "$2" "$1:/var/tmp/image"
ssh -- "$1" "dd if=/var/tmp/image of=$4 bs=1M conv=fsync && rm /var/tmp/image"
"""
TAR = """
ssh -- "$1" "$3"
tar -C "${2%/*}" -cSf - "${2##*/}" | ssh -- "$1" "tar -xOf - | dd of=$4 bs=64k conv=fdatasync iflag=fullblock"
"""
SCRIPTS = {"copy, then dd": COPY, "tar over ssh into dd": TAR}


def measure(stage: Stage) -> list[Record]:
    image = stage.image(SIZE // stage.share)
    cases: dict[str, Case] = {
        name: stage.after(partial(_run, stage, script, image)) for name, script in SCRIPTS.items()
    }
    for mode in SDS:
        cases[f"{mode} cold"] = partial(_cold, stage, mode, image)
        cases[f"{mode} warm"] = partial(_warm, stage, mode, image)
    took = stage.alternate(cases)
    records = []
    for mode in SDS:
        for state, goal in (("cold", 1.0), ("warm", GOAL_WARM)):
            case, ours = f"{mode} {units.human(image.size)} full: action, {state} cache", took[f"{mode} {state}"]
            records += [ratio("B", case, f"ratio to {name}", ours, took[name], goal) for name in SCRIPTS]
    return records


def _cold(stage: Stage, mode: str, image: Image) -> float:
    return cold(stage, image, lambda: stage.clone(mode, image).seconds)


def _warm(stage: Stage, mode: str, image: Image) -> float:
    stage.clone(mode, image)
    seconds = stage.clone(mode, image).seconds
    stage.clear(origins=True)
    return seconds


def _run(stage: Stage, script: str, image: Image) -> float:
    vg = names.vg(SDS["thick"])
    create = ["sudo", "-n", "lvcreate", "-qq", "--yes", "-Wn", "-Zn", "-n", "reference", "-L", f"{image.size}b", vg]
    stage.forget(image)
    words = [stage.node, stage.path(image), shlex.join(create), names.device(vg, "reference")]
    return stage.one.run(["sh", "-euc", script, "sh", *words]).seconds

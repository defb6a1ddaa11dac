"""M6: what the first write to a snapshot costs, by chunk size, and how much space it takes.

Random 4 KiB writes with O_DIRECT, one after the other, to a snapshot of a written volume: once (most are the first to
their chunk), and the same once more.  Beside them the same writes to a plain volume.
"""

from __future__ import annotations

import json

from vafnebula import names, units
from vafnebula.bench.onnode import step, timed
from vafnebula.bench.record import Record, plain, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import SDS, Stage

VG = names.vg(SDS["thick"])
SIZE = 512 * units.MIB
WRITES = 2000
BLOCK = 4 * units.KIB
THICK = (4, 8, 16, 32, 64, 128, 256, 512)  # KiB
THIN = (64, 128, 256, 512)  # KiB; LVM has no smaller ones

# $1 device: seconds of the first and the second pass as JSON
WRITER = f"""\
import json, mmap, os, random, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
buffer = mmap.mmap(-1, {BLOCK})
buffer.write(os.urandom({BLOCK}))
offsets = [n * {BLOCK} for n in random.Random(6).sample(range({SIZE // BLOCK}), {WRITES})]
took = []
for _ in range(2):
    began = time.monotonic()
    for offset in offsets:
        os.pwrite(fd, buffer, offset)
    os.fsync(fd)
    took.append(time.monotonic() - began)
print(json.dumps(took))
"""
PLAIN = 'lvcreate -qq --yes -Wn -Zn -n bench -L "$2"b "$1"'
THICK_SNAPSHOT = """
lvcreate -qq --yes -Wn -Zn -n base -L "$2"b "$1"
lvcreate -qq --yes -s -n bench -c "$3"k -l 100%ORIGIN "$1/base"
"""
POOL = """
lvcreate -qq --yes --type thin-pool -n pool -L 2G --poolmetadatasize 32M -Zy -c "$3"k "$1"
lvcreate -qq --yes -Wn -n base -V "$2"b -T "$1/pool"
"""
THIN_FRESH = POOL + 'lvrename -qq "$1" base bench'
THIN_SNAPSHOT = (
    POOL
    + """
dd if=/dev/zero of="/dev/$1/base" bs=1M count="$(($2 / 1048576))" oflag=direct status=none
lvcreate -qq --yes -s -kn -n bench "$1/base"
"""
)
CLEAR = 'lvremove -qq --yes "$1"'
USED = 'lvs --noheadings --units b --nosuffix -o lv_size,data_percent "$1/$2"'


def measure(stage: Stage) -> list[Record]:
    variants: dict[str, tuple[str, int, str]] = {"plain": (PLAIN, 4, "bench")}
    variants.update({f"thick {c} KiB": (THICK_SNAPSHOT, c, "bench") for c in THICK})
    variants.update({f"thin {c} KiB, shared": (THIN_SNAPSHOT, c, "pool") for c in THIN})
    variants.update({f"thin {c} KiB, fresh": (THIN_FRESH, c, "pool") for c in THIN})
    again: dict[str, list[float]] = {name: [] for name in variants}
    space: dict[str, list[float]] = {name: [] for name in variants}
    along: dict[str, list[float]] = {name: [] for name in variants}

    def case(name: str, script: str, chunk: int, room: str) -> Case:
        def run() -> float:
            along[name].append(_sequential(stage, script, chunk))
            first, second, used = _random(stage, script, chunk, room)
            again[name].append(second)
            space[name].append(used / (WRITES * BLOCK))
            return first

        return run

    first = stage.alternate({name: case(name, *what) for name, what in variants.items()})
    records = []
    for name in list(variants)[1:]:
        records += [
            ratio("M6", f"{name}: first random 4 KiB write", "time, x plain", first[name], first["plain"]),
            ratio("M6", f"{name}: rewrite", "time, x plain", again[name], again["plain"]),
            ratio("M6", f"{name}: first sequential write", "time, x plain", along[name], along["plain"]),
            plain("M6", f"{name}: space for random 4 KiB writes", "x what was written", space[name]),
        ]
    return records


def _random(stage: Stage, script: str, chunk: int, room: str) -> tuple[float, float, float]:
    """Seconds of the first pass and of the second, and the bytes that they took of the snapshot's or pool's room."""
    stage.sh(script, VG, str(SIZE), str(chunk))
    before = 0.0 if script == PLAIN else _used(stage, room)
    [ended] = timed(stage.lab, stage.node, [step("python3", "-I", "-c", WRITER, f"/dev/{VG}/bench")], user="root")
    first, second = json.loads(ended.out)
    used = 0.0 if script == PLAIN else _used(stage, room) - before
    stage.sh(CLEAR, VG)
    return first, second, used


def _used(stage: Stage, room: str) -> float:
    size, percent = stage.sh(USED, VG, room).split()
    return float(size) * float(percent) / 100


def _sequential(stage: Stage, script: str, chunk: int) -> float:
    """Seconds of a quarter of the volume written in large blocks."""
    stage.sh(script, VG, str(SIZE), str(chunk))
    count = f"count={SIZE // 4 // units.MIB}"
    write = step("dd", "if=/dev/zero", f"of=/dev/{VG}/bench", "bs=1M", count, "oflag=direct", "conv=fsync")
    [ended] = timed(stage.lab, stage.node, [write], user="root")
    stage.sh(CLEAR, VG)
    return ended.seconds

"""M7: VMs of one image that read and write together, beside as many plain volumes.

The paper's successors gave snapshots up because "more than a few" of one volume were slow together.  K processes on the
node, started at once, each with a volume of its own: random 4 KiB reads with O_DIRECT, then writes to places that were
not written before.
"""

from __future__ import annotations

import json

from vafnebula import names, units
from vafnebula.bench.onnode import step, timed
from vafnebula.bench.record import Record, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import SDS, Stage

VG = names.vg(SDS["thick"])
SIZE = 96 * units.MIB
TOGETHER = (1, 2, 4, 8, 16)
TOTAL = 3200  # reads, and as many writes, of all together
READS = 1.25  # a goal: 0.8 of the reads that plain volumes do in the same time
BLOCK = 4 * units.KIB

# $1 operations each, $2... devices: seconds until all have read, and until all have written, as JSON
GUESTS = f"""\
import json, mmap, os, random, sys, time
each, devices = int(sys.argv[1]), sys.argv[2:]
def guest(device, seed, write):
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, {BLOCK})
    buffer.write(os.urandom({BLOCK}))
    for n in random.Random(seed).sample(range({SIZE // BLOCK}), each):
        if write:
            os.pwrite(fd, buffer, n * {BLOCK})
        else:
            os.preadv(fd, [buffer], n * {BLOCK})
    os.fsync(fd)
took = []
for write in (False, True):
    began = time.monotonic()
    for seed, device in enumerate(devices):
        if os.fork() == 0:
            guest(device, seed, write)
            os._exit(0)
    codes = [os.wait()[1] for _ in devices]
    took.append(time.monotonic() - began)
    if any(codes):
        sys.exit("a guest failed")
print(json.dumps(took))
"""
WRITTEN = 'dd if=/dev/zero of="/dev/$1/$name" bs=1M count="$(($2 / 1048576))" oflag=direct status=none'
PLAIN = f"""
for i in $(seq "$3"); do name=bench$i; lvcreate -qq --yes -Wn -Zn -n $name -L "$2"b "$1"; {WRITTEN}; done
"""
THICK = f"""
name=base; lvcreate -qq --yes -Wn -Zn -n $name -L "$2"b "$1"; {WRITTEN}
for i in $(seq "$3"); do lvcreate -qq --yes -s -n bench$i -c 64k -l 100%ORIGIN "$1/base"; done
"""
THIN = f"""
lvcreate -qq --yes --type thin-pool -n pool -L 4G --poolmetadatasize 32M -Zy -c 64k "$1"
name=base; lvcreate -qq --yes -Wn -n $name -V "$2"b -T "$1/pool"; {WRITTEN}
for i in $(seq "$3"); do lvcreate -qq --yes -s -kn -n bench$i "$1/base"; done
"""
CLEAR = 'lvremove -qq --yes "$1"'


def measure(stage: Stage) -> list[Record]:
    records = []
    for count in TOGETHER:
        written: dict[str, list[float]] = {"plain": [], "thick": [], "thin": []}
        scripts = {"plain": PLAIN, "thick": THICK, "thin": THIN}
        read = stage.alternate({name: _case(stage, scripts[name], count, written[name]) for name in scripts})
        for mode in ("thin", "thick"):
            goal = READS if mode == "thin" else None
            case = f"{mode}, {count} together"
            records += [
                ratio("M7", f"{case}: read", "time, x plain", read[mode], read["plain"], goal),
                ratio("M7", f"{case}: first write", "time, x plain", written[mode], written["plain"]),
            ]
    return records


def _case(stage: Stage, script: str, count: int, written: list[float]) -> Case:
    def run() -> float:
        stage.sh(script, VG, str(SIZE), str(count))
        devices = [f"/dev/{VG}/bench{i}" for i in range(1, count + 1)]
        guests = step("python3", "-I", "-c", GUESTS, str(TOTAL // count), *devices)
        [ended] = timed(stage.lab, stage.node, [guests], user="root")
        read, write = json.loads(ended.out)
        stage.sh(CLEAR, VG)
        written.append(write)
        return float(read)

    return run

"""M12: a thin pool that fills up: how many VMs meet an I/O error, with our limit and without one.

VMs are made of one base, one after the other, and each writes its share, until the next one is refused or there are
many; then each writes a little more.  Without a limit (a bare `lvcreate -s`) LVM makes them until the pool is full.
"""

from __future__ import annotations

import json

from vafnebula import names, units
from vafnebula.bench.onnode import step, timed
from vafnebula.bench.record import Record, plain
from vafnebula.bench.stage import SDS, Stage

VG = names.vg(SDS["thick"])
POOL = 256 * units.MIB
SHARE = 8 * units.MIB  # of a VM; less than the last 5 % of the pool
MORE = 64 * units.KIB  # what each writes once more when no more VMs are made
MOST = 40  # VMs
LIMIT = 95  # %, pool_limit's default

MAKE = f"""
lvcreate -qq --yes --type thin-pool -n {names.THIN_POOL} -L "$2"b -Zy -c 64k "$1"
lvchange -qq --errorwhenfull y "$1/{names.THIN_POOL}"
lvcreate -qq --yes -Wn -n base -V 64M -T "$1/{names.THIN_POOL}"
"""
CLEAR = 'lvremove -qq --yes "$1"'
# $1 VG, $2 limit: VMs made, VMs with an I/O error, percent of the pool in use, as JSON
FILL = f"""\
import json, mmap, os, sys
sys.path.insert(0, "/var/tmp/one/vafnebula")
from vafnebula import errors
from vafnebula.node import lvm
from vafnebula.node.host import Host
vg, limit, host, made, failed = sys.argv[1], int(sys.argv[2]), Host(), [], set()
buffer = mmap.mmap(-1, {units.MIB})
buffer.write(os.urandom({units.MIB}))
def write(vm, at, size):
    fd = os.open("/dev/%s/vm%d" % (vg, vm), os.O_WRONLY | os.O_DIRECT)
    try:
        os.pwrite(fd, memoryview(buffer)[:size], at)
        os.fsync(fd)
    except OSError:
        failed.add(vm)
    os.close(fd)
for vm in range({MOST}):
    try:
        lvm.snapshot(host, vg, "base", "vm%d" % vm, ["vafnebula"], limit=limit, readonly=False)
    except errors.NoRoom:
        break
    made.append(vm)
    for at in range(0, {SHARE}, {units.MIB}):
        write(vm, at, {units.MIB})
for vm in made:
    write(vm, {2 * SHARE}, {MORE})
pool = lvm.group(host, vg).find("{names.THIN_POOL}")
print(json.dumps([len(made), len(failed), pool.data_percent]))
"""


def measure(stage: Stage) -> list[Record]:
    records = []
    for name, limit, goal in ((f"limit {LIMIT} %", LIMIT, 0.0), ("no limit", 100, None)):
        stage.sh(MAKE, VG, str(POOL))
        [ended] = timed(stage.lab, stage.node, [step("python3", "-I", "-c", FILL, VG, str(limit))], user="root")
        made, failed, percent = json.loads(ended.out)
        stage.sh(CLEAR, VG)
        records += [
            plain("M12", f"{name}: VMs with an I/O error", "VMs", [failed], goal),
            plain("M12", f"{name}: VMs made", "VMs", [made]),
            plain("M12", f"{name}: thin pool at the end", "% used", [percent]),
        ]
    return records

"""M9: cold migration: bytes on the wire beside the bytes that the VM has changed, and beside what plain drivers send.

The destination holds the disk's image, for another VM of it; in the last case it does not and cannot.  Bytes are those
of all frames at the destination's interfaces in either direction, ssh's and TCP's own included, and besides those that
the sender counted.  The plain driver reads the whole volume and sends it through ssh.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random

from vafnebula import names, units
from vafnebula.bench.onnode import deed_facts
from vafnebula.bench.record import Record, plain, ratio
from vafnebula.bench.rounds import Case
from vafnebula.bench.stage import SDS, Stage
from vafnebula.lab.opennebula import Disk, Image, Vm

NODES = 2
VG = names.vg(SDS["thin"])
SIZE = units.GIB
HOLES = 50  # percent of the image
BLOCK = 4 * units.KIB
GOAL = 1.1
PLAIN = "dd over ssh"
WITHOUT = "its image was replaced"
CHANGES = {  # percent of the disk, and whether in one piece
    "1 % changed": (1, False),
    "10 % changed": (10, False),
    "50 % changed": (50, False),
    "10 % changed in one piece": (10, True),
}

# $1 device, on stdin offset and length of what is written anew: no 4 KiB of it are as they were
CHANGE = """\
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
for line in sys.stdin:
    offset, length = map(int, line.split())
    os.pwrite(fd, os.urandom(length), offset)
os.fsync(fd)
"""
# $1 device: how many bytes in it are not in a block of zeros
NONZERO = f"""\
import sys
count, zeros = 0, bytes({BLOCK})
with open(sys.argv[1], "rb", buffering=0) as device:
    while piece := device.read({units.MIB}):
        blocks = (piece[at : at + {BLOCK}] for at in range(0, len(piece), {BLOCK}))
        count += sum(len(block) for block in blocks if block != zeros)
print(count)
"""
# $1 source, $2 destination, $3 the command that makes a volume there, $4 the source's device, $5 the volume's
WHOLE = """
ssh -- "$2" "$3"
ssh -A -o ControlPath=none -- "$1" "dd if=$4 bs=64k | ssh -- $2 'dd of=$5 bs=64k conv=fdatasync iflag=fullblock'"
"""
DIGEST = 'sha256sum <"$1"'
COUNTERS = "cat /proc/net/dev"


@dataclass
class Sent:
    """What was measured of one case, a number per round; bytes."""

    wire: list[float] = field(default_factory=list)
    stream: list[float] = field(default_factory=list)
    due: list[float] = field(default_factory=list)  # what had to go over
    differ: list[float] = field(default_factory=list)  # disks that do not read what they read before


def measure(stage: Stage) -> list[Record]:
    image = stage.image(SIZE, HOLES)
    sent: dict[str, Sent] = defaultdict(Sent)
    for host in stage.lab.nodes:
        stage.tell(f"filling the cache of {host}")
        _clone(stage, image, host)
    stage.clear()
    cases: dict[str, Case] = {PLAIN: partial(_plain, stage, image, sent[PLAIN])}
    for name, (percent, together) in CHANGES.items():
        where = list(changed(SIZE, percent, together))
        cases[name] = stage.after(partial(_delta, stage, image, where, sent[name]))
    cases[WITHOUT] = partial(_without, stage, image, sent[WITHOUT])  # the last: it takes the caches away
    took = stage.alternate(cases)
    stage.clear(origins=True)
    size = units.human(SIZE)
    records = [ratio("M9", f"{size}, {PLAIN}: on the wire", "x disk", sent[PLAIN].wire, sent[PLAIN].due)]
    for name in (*CHANGES, WITHOUT):
        case, one, due = f"{size}, {name}", sent[name], "changed bytes" if name in CHANGES else "non-zero bytes"
        records += [
            ratio("M9", f"{case}: on the wire", f"x {due}", one.wire, one.due, GOAL),
            ratio("M9", f"{case}: stream", f"x {due}", one.stream, one.due, GOAL),
            ratio("M9", f"{case}: on the wire", f"ratio to {PLAIN}", one.wire, sent[PLAIN].wire),
            ratio("M9", f"{case}: whole migration", f"ratio to {PLAIN}", took[name], took[PLAIN]),
            plain("M9", f"{case}: disks that read otherwise than before", "disks", one.differ, 0),
        ]
    return records


def changed(size: int, percent: int, together: bool) -> Iterator[tuple[int, int]]:
    """(offset, length) of what a guest writes anew: blocks all over its disk, always the same, or one piece of it."""
    blocks = size // BLOCK
    count = blocks * percent // 100
    if together:
        start = blocks // 3 * BLOCK
        for offset in range(start, start + count * BLOCK, units.MIB):
            yield offset, min(units.MIB, start + count * BLOCK - offset)
    else:
        for block in sorted(Random(percent).sample(range(blocks), count)):  # noqa: S311
            yield block * BLOCK, BLOCK


def traffic(text: str) -> int:
    """Bytes received and transmitted over all interfaces but lo, from the text of /proc/net/dev."""
    rows = [line.split(":") for line in text.splitlines()[2:]]
    return sum(int(counts.split()[0]) + int(counts.split()[8]) for name, counts in rows if name.strip() != "lo")


def _clone(stage: Stage, image: Image, host: str) -> Vm:
    vm = stage.vm("thin", Disk(0, image), host=host)
    stage.one.act("clone", vm.id, 0)
    return vm


def _device(vm: Vm) -> str:
    return names.device(VG, names.disk_volume(vm.id, 0))


def _wire(stage: Stage) -> int:
    return traffic(stage.sh(COUNTERS, node=stage.lab.nodes[1]))


def _plain(stage: Stage, image: Image, sent: Sent) -> float:
    source, destination = stage.lab.nodes
    device = _device(_clone(stage, image, source))
    create = " ".join(("sudo -n", *stage.fresh("thin", SIZE).argv))
    before = _wire(stage)
    words = [source, destination, create, device, names.device(VG, "reference")]
    seconds = stage.one.run(["sh", "-euc", WHOLE, "sh", *words]).seconds
    sent.wire.append(_wire(stage) - before)
    sent.due.append(SIZE)
    stage.clear()
    return seconds


def _delta(stage: Stage, image: Image, where: list[tuple[int, int]], sent: Sent) -> float:
    vm = _clone(stage, image, stage.node)
    text = "".join(f"{offset} {length}\n" for offset, length in where)
    stage.python(CHANGE, _device(vm), input=text)
    sent.due.append(sum(length for _, length in where))
    return _migrate(stage, vm, sent)


def _without(stage: Stage, image: Image, sent: Sent) -> float:
    stage.clear(origins=True)
    vm = _clone(stage, image, stage.node)
    stage.renew(image, HOLES)
    sent.due.append(int(stage.python(NONZERO, _device(vm))))
    seconds = _migrate(stage, vm, sent)
    stage.clear(origins=True)
    for host in stage.lab.nodes:  # for the next round
        _clone(stage, image, host)
    stage.clear()
    return seconds


def _migrate(stage: Stage, vm: Vm, sent: Sent) -> float:
    """Seconds of all lines of the script, each from fork to exit."""
    source, destination = stage.lab.nodes
    digest = stage.sh(DIGEST, _device(vm))
    before = _wire(stage)
    seconds = stage.one.migrate(vm.id, destination)
    sent.wire.append(_wire(stage) - before)
    sent.stream.append(int(deed_facts(stage.lab, source, "send", vm.id, 0)["bytes"]))
    sent.differ.append(stage.sh(DIGEST, _device(vm), node=destination) != digest)
    return seconds

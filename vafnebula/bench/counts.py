"""M4: what an action starts: programs on the front-end, ssh, programs on the node, LVM commands, Ruby.

Counted by strace as successful execve calls, on the front-end around the stub, on the node around the node half.  The
goals: half of what OpenNebula 7.4's fs_lvm_ssh starts for the same action on both sides together, counted in the same
way; for a clone from the cache 1 ssh and 4 LVM commands; Ruby never.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from vafnebula import units
from vafnebula.bench.record import Record, plain
from vafnebula.bench.stage import MODES, Stage
from vafnebula.lab import opennebula
from vafnebula.lab.opennebula import Disk, Image, Vm

# verb -> programs that fs_lvm_ssh starts on the front-end, and on the node, in mode thick and thin
PEER: dict[str, dict[str, tuple[int, int]]] = {
    "clone, cold": {"thick": (70, 16), "thin": (70, 17)},
    "clone, warm": {"thick": (70, 16), "thin": (70, 15)},
    "mkimage": {"thick": (23, 9), "thin": (23, 11)},
    "mkswap": {"thick": (25, 10), "thin": (25, 10)},
    "delete": {"thick": (27, 11), "thin": (22, 7)},
    "delete directory": {"thick": (22, 5), "thin": (22, 5)},
}
LVM_GOAL = {"clone, warm": 4}
CALL = re.compile(
    r'(?P<pid>\d+) +(?:execve\("(?P<program>[^"]+)"|<\.\.\. execve resumed>).*(?P<end> = 0|unfinished \.\.\.>)'
)
TRACE = "/tmp/exec.trace"  # noqa: S108  of the lab's own roots
PYTHON = "/usr/local/bin/traced-python"
INSTALL = """
printf '#!/bin/sh\\n%s "$@"\\n' "$2" >"$1"
chmod 755 "$1"
echo 'oneadmin ALL=(root) NOPASSWD: /usr/bin/strace' >/etc/sudoers.d/bench
"""


@dataclass(frozen=True)
class Started:
    """Names of the programs that an action started, in order."""

    frontend: tuple[str, ...]
    node: tuple[str, ...]


def measure(stage: Stage) -> list[Record]:
    image, records = stage.image(64 * units.MIB), []
    kept = Image(image.datastore, image.source, image.size, persistent=True)
    with traced(stage):
        for mode in MODES:
            records += _mode(stage, mode, image, kept)
            stage.clear(origins=True)
    return records


def _mode(stage: Stage, mode: str, image: Image, kept: Image) -> list[Record]:
    disks = (
        Disk(0, image),
        Disk(1, kind="swap", size=64 * units.MIB),
        Disk(2, size=units.GIB, filesystem="xfs"),
        Disk(3, kept),
    )
    first, second = stage.vm(mode, *disks), stage.vm(mode, *disks)
    calls: list[tuple[str, Vm, str, int]] = [
        ("clone, cold", first, "clone", 0),
        ("clone, warm", second, "clone", 0),
        ("mkswap", first, "mkswap", 1),
        ("mkimage", first, "mkimage", 2),
        ("ln", first, "ln", 3),
        ("mvds", first, "mvds", 3),
        ("delete", first, "delete", 0),
        ("delete directory", first, "delete", -1),
    ]
    records = []
    for case, vm, verb, disk in calls:
        stage.tell(f"{mode} {case}")
        records += _records(f"{mode} {case}", case, mode, started(stage, opennebula.argv(verb, vm, disk)))
    return records


def started(stage: Stage, argv: Sequence[str]) -> Started:
    """Run an action under strace on both sides; on the node the site file's `python` starts the trace."""
    stage.lab.run(["rm", "-f", TRACE])
    stage.one.run(["strace", "-f", "-qq", "-e", "trace=execve", "-o", TRACE, *argv])
    return Started(programs(stage.lab.run(["cat", TRACE]).out.decode()), programs(stage.sh(f"cat {TRACE}; rm {TRACE}")))


@contextmanager
def traced(stage: Stage) -> Iterator[None]:
    """While the block runs, the node half runs under strace: as root, or sudo would not work under it."""
    stage.sh(INSTALL, PYTHON, f"exec sudo -n strace -f -qq -u oneadmin -e trace=execve -o {TRACE} /usr/bin/python3")
    stage.configure(f"[frontend]\npython = {PYTHON}")
    yield
    stage.configure("")
    stage.sh(f"rm {PYTHON} /etc/sudoers.d/bench")


def programs(trace: str) -> tuple[str, ...]:
    """Names of the programs in a trace of execve; attempts along PATH that failed do not count."""
    begun: dict[str, str] = {}
    started = []
    for line in trace.splitlines():
        found = CALL.fullmatch(line)
        if found:
            if found["program"]:
                begun[found["pid"]] = found["program"].rsplit("/", 1)[-1]
            if found["end"] == " = 0":
                started.append(begun[found["pid"]])
    return tuple(started)


def _records(name: str, case: str, mode: str, found: Started) -> list[Record]:
    peer = PEER.get(case, {}).get(mode)
    lvm = [p for p in found.node if p.startswith(("lv", "vg", "pv"))]
    everything = [*found.frontend, *found.node]
    return [
        plain("M4", f"{name}: all", "programs", [len(everything)], sum(peer) / 2 if peer else None),
        plain("M4", f"{name}: of them on the node", "programs", [len(found.node)]),
        plain("M4", f"{name}: ssh", "programs", [found.frontend.count("ssh")], 1),
        plain("M4", f"{name}: LVM", "programs", [len(lvm)], LVM_GOAL.get(case)),
        plain("M4", f"{name}: Ruby", "programs", [sum("ruby" in p for p in everything)], 0),
    ]

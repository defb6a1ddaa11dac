"""Slurm, through the text interfaces that do not change from release to release.  Recorded with 22.05.

Traps, each met in a recording: `%m` does not say whether memory is per node or per core (tres-alloc does); array
expressions are cut at 64 characters (SLURM_BITSTR_LEN=0); a job without memory gets all of its node's; a cluster
without nodes calls every job PartitionConfig; a running job on a powered-down cloud node names a node that
`scontrol show node` does not list.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from vafnebula import errors, process
from vafnebula.scale.batch import BatchView, Run
from vafnebula.scale.batch.expand import MOST, elements, hosts
from vafnebula.scale.model import Job, Node, Shape
from vafnebula.units import MIB

PATIENCE = 30.0
SEPARATOR = "\x1f"
FIELDS = (
    "JobArrayID", "State", "NumNodes", "tres-alloc", "tres-per-node", "tres-per-job", "MinMemory", "OverSubscribe",
    "SubmitTime", "NodeList", "Partition", "ReqNodes", "Reservation", "Reason", "UserName", "Feature",
)  # fmt: skip
"""No job name: it may hold a line break, and with that a whole line that looks like another job."""
FORMAT = ",".join(f"{f}:{SEPARATOR}" for f in FIELDS)

WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED"}
ON_NODE = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
HELPED = {"None", "Resources", "Priority", "PartitionConfig", "ReqNodeNotAvail", "Nodes required for job are DOWN"}
"""Reasons to wait that a VM could end.  PartitionConfig is what Slurm says when no node exists yet."""

USABLE = {"IDLE", "MIXED", "ALLOCATED", "COMPLETING"}
DOWN = {
    "NOT_RESPONDING", "POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "POWERING_UP", "POWER_UP", "FAIL", "INVALID_REG",
    "REBOOT_ISSUED", "REBOOT_REQUESTED", "FUTURE", "NO_RESPOND",
}  # fmt: skip
CLOSED = {"RESERVED", "MAINT", "BLOCKED"}

_WANTED = (
    "NodeName", "State", "CPUEfctv", "CPUTot", "CPUAlloc", "RealMemory", "AllocMem", "Gres", "GresUsed",
    "ActiveFeatures", "Partitions", "LastBusyTime",
)  # fmt: skip
_KEY = re.compile(r" (Comment|Extra|InstanceId|InstanceType)=")
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)")
_GPU = re.compile(r"(?:gres[:/])?gpu(?::([A-Za-z][^:=(]*))?(?:[:=]([0-9]+))?(?:\(.*)?")
_FACTOR = {"K": 1 / 1024, "": 1.0, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}


class Slurm:
    """`conf` is the slurm.conf that the commands use, '' the system's."""

    def __init__(self, options: Mapping[str, str] | None = None, run: Run = process.run) -> None:
        self.run = run
        self.conf = (options or {}).get("conf", "")
        self.memory_counts: bool | None = None

    def observe(self) -> BatchView:
        try:
            if self.memory_counts is None:
                self.memory_counts = memory_is_consumed(self._ask("scontrol", "show", "config"))
            nodes = self._ask("scontrol", "-a", "-d", "show", "node", "-o")
            queue = self._ask("squeue", "-h", "-a", "-O", FORMAT)
        except errors.Error as e:
            return BatchView(complete=False, why=str(e))
        return parse(queue, nodes, memory_counts=self.memory_counts)

    def drain(self, node: str, reason: str) -> None:
        self._tell("update", f"nodename={node}", "state=drain", f"reason={errors.one_line(reason, 200)}")

    def undrain(self, node: str) -> None:
        done = self._tell("update", f"nodename={node}", "state=undrain", check=False)
        if done.code != 0 and b"Invalid node state" not in done.err:  # which it says of a node that is not drained
            raise errors.CommandFailed(program="scontrol", code=done.code, why=done.why)

    def remove(self, node: str) -> None:
        done = self._tell("delete", f"nodename={node}", check=False)
        if done.code != 0 and b"Invalid node name" not in done.err:
            raise errors.CommandFailed(program="scontrol", code=done.code, why=done.why)

    def _ask(self, *argv: str) -> bytes:
        return self.run(list(argv), timeout=PATIENCE, env=self._env()).out

    def _tell(self, *argv: str, check: bool = True) -> process.Completed:
        return self.run(["scontrol", *argv], timeout=PATIENCE, env=self._env(), check=check)

    def _env(self) -> dict[str, str]:
        """A person's SQUEUE_FORMAT and the like would change what is printed."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SLURM_", "SINFO_"))}
        conf = self.conf or os.environ.get("SLURM_CONF", "")
        return {**kept, "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0", **({"SLURM_CONF": conf} if conf else {})}


def memory_is_consumed(config: bytes) -> bool:
    """Whether `scontrol show config` says that jobs are given memory."""
    found = re.search(rb"(?m)^SelectTypeParameters\s*=\s*(.*)$", config)
    return bool(found and b"MEMORY" in found[1].upper())


def parse(queue: bytes, nodes: bytes, *, memory_counts: bool = True) -> BatchView:
    """Both outputs together: a node's jobs are counted from the queue as well."""
    jobs, trouble = parse_jobs(queue, memory_counts=memory_counts)
    load = Counter(h for j in jobs if j.state == "running" for h in j.hosts)
    hosts_seen, more = parse_nodes(nodes, load)
    why = trouble or more
    return BatchView(jobs, hosts_seen, not why, why)


def parse_jobs(text: bytes, *, memory_counts: bool = True) -> tuple[tuple[Job, ...], str]:
    """`squeue -h -a -O FORMAT`.  Returns jobs, one per array element, and what was not understood, '' for nothing."""
    rows, trouble, width = [], "", len(FIELDS) + 1
    for line in text.decode(errors="replace").split("\n"):
        row = line.split(SEPARATOR)
        if len(row) != width:
            if not line.strip():
                continue
            trouble = f"squeue printed a line that is not a job: {errors.one_line(line, 60)}"
            continue
        rows.append(row)
    running = Counter(r[0].split("_")[0] for r in rows if "_" in r[0] and r[1] in ON_NODE)
    jobs: list[Job] = []
    shapes: dict[tuple[str, ...], Shape | None] = {}
    for row in rows:
        needs = (*row[2:8], row[10], row[15])
        if needs not in shapes:
            shapes[needs] = _shape(needs, memory_counts=memory_counts)
        shape = shapes[needs]
        if shape is None:
            trouble = f"job {errors.one_line(row[0], 40)} needs what cannot be read"
            continue
        found = _jobs(row, shape, running)
        if found is None or len(jobs) + len(found) > MOST:
            trouble = f"job {errors.one_line(row[0], 40)} has too many elements or a state that is unknown"
            continue
        jobs += found
    return tuple(jobs), trouble


def _jobs(row: list[str], shape: Shape, running: Counter[str]) -> list[Job] | None:
    ident, state, reason = row[0], row[1], row[13]
    nodes, since = 1 if row[2] == "1" else _number(row[2]) or 1, float(_number(row[8]) or 0)
    if state in ON_NODE:
        return [Job(ident, shape, "running", nodes, "", since, hosts(row[9]), row[14])]
    if state not in WAITING:
        return [] if state.isupper() else None
    why, helped = _waits(reason, row[11], row[12])
    base, _, array = ident.partition("_")
    if not array.startswith("["):
        return [Job(ident, shape, "waiting" if helped else "held", nodes, why, since, (), row[14])]
    found = elements(array[1:].rstrip("]"))
    if found is None:
        return None
    numbers, limit = found
    free = len(numbers) if limit is None else max(0, limit - running[base])
    made = []
    for i, number in enumerate(numbers):
        may = helped and i < free
        word = why if i < free or not helped else f"the array's limit of {limit} at a time"
        made.append(Job(f"{base}_{number}", shape, "waiting" if may else "held", nodes, word, since, (), row[14]))
    return made


@lru_cache(maxsize=1024)
def _waits(reason: str, asked: str, reservation: str) -> tuple[str, bool]:
    """What a pending job waits for, and whether a VM could help."""
    if asked not in ("", "(null)"):
        return f"it asks for node {asked}", False
    if reservation not in ("", "(null)"):
        return f"it waits for reservation {reservation}", False
    return reason, reason.split(",")[0].split("(")[0].strip() in HELPED


def _shape(needs: tuple[str, ...], *, memory_counts: bool) -> Shape | None:
    """The need on one node of NumNodes, tres-alloc, tres-per-node, tres-per-job, MinMemory, OverSubscribe, ..."""
    count, total, per_node, per_job, least, share, partition, feature = needs
    nodes = max(1, _number(count) or 1)
    tres = dict(t.split("=", 1) for t in total.split(",") if "=" in t)
    cpus, memory = _number(tres.get("cpu", "1")), _bytes(tres.get("mem", "0"))
    if cpus is None or memory is None:
        return None
    gpus, kinds = 0, set()
    for text, among in ((per_node, 1), (per_job, nodes), (total, nodes)):
        for word in text.split(","):
            found = _GPU.fullmatch(word)
            if found:
                gpus = max(gpus, -(-int(found[2] or 1) // among))
                kinds |= {f"gpu:{found[1]}"} if found[1] else set()
    all_memory = memory_counts and _bytes(least) == 0
    return Shape(
        max(1, -(-cpus // nodes)),
        0 if all_memory or not memory_counts else memory // nodes,
        gpus,
        frozenset(_features(feature) | kinds),
        frozenset(p for p in partition.split(",") if p),
        whole=share == "NO" or all_memory,
    )


def _features(text: str) -> set[str]:
    """`a&b`, `a,b`, `a|b`, `(a|b)&c`.  What counts nodes ([a*2&b]) is not a need of one node: nothing is asked then."""
    if text in ("", "(null)") or "[" in text or "*" in text:
        return set()
    return {part.strip("()") for part in re.split(r"[&,]", text) if part.strip("()")}


def parse_nodes(text: bytes, load: Mapping[str, int]) -> tuple[tuple[Node, ...], str]:
    """`scontrol -d show node -o`, with the number of jobs by node.  Returns nodes and what was not understood."""
    nodes, trouble = [], ""
    for line in text.decode(errors="replace").split("\n"):
        if not line.strip() or line.startswith("No nodes in the system"):
            continue
        keys = _values(line)
        node = _node(keys, load) if keys.get("NodeName") and keys.get("State") else None
        if node is None:
            trouble = f"scontrol printed a line that is not a node: {errors.one_line(line, 60)}"
            continue
        nodes.append(node)
    return tuple(nodes), trouble


def _values(line: str) -> dict[str, str]:
    """The values we want.  The first of a key counts: what a person wrote (Reason, Comment) stands at the end."""
    out: dict[str, str] = {}
    line = " " + line
    for key in _WANTED:
        at = line.find(f" {key}=")
        if at >= 0:
            begin = at + len(key) + 2
            end = line.find(" ", begin)
            out[key] = line[begin : end if end >= 0 else len(line)]
    at = line.find(" Reason=")
    if at >= 0:
        text = line[at + 8 :]
        after = _KEY.search(text)
        out["Reason"] = text[: after.start() if after else len(text)].strip()
    return out


def _node(keys: Mapping[str, str], load: Mapping[str, int]) -> Node | None:
    base, *flags = (f.rstrip("*~#!%$@^-") for f in keys["State"].upper().split("+"))
    silent = keys["State"].split("+")[0].endswith("*")
    cpus, used = _number(keys.get("CPUEfctv", keys.get("CPUTot", ""))), _number(keys.get("CPUAlloc", "0"))
    memory, taken = _number(keys.get("RealMemory", "")), _number(keys.get("AllocMem", "0"))
    if cpus is None or used is None or memory is None or taken is None:
        return None
    gpus, kinds = _gpus(keys.get("Gres", ""))
    gpus_used, _ = _gpus(keys.get("GresUsed", ""))
    features = {f for f in keys.get("ActiveFeatures", "").split(",") if f and f != "(null)"}
    queues = frozenset(q for q in keys.get("Partitions", "").split(",") if q)
    kind = frozenset(features | kinds)
    closed = not CLOSED.isdisjoint(flags)
    up = base in USABLE and not silent and DOWN.isdisjoint(flags)
    busy = used > 0 or base in ("MIXED", "ALLOCATED", "COMPLETING") or "COMPLETING" in flags
    name = keys["NodeName"]
    return Node(
        name,
        Shape(cpus, memory * MIB, gpus, kind, queues),
        Shape(
            0 if closed else max(0, cpus - used), max(0, memory - taken) * MIB, max(0, gpus - gpus_used), kind, queues
        ),
        "up" if up else "down",
        draining=base == "DRAINED" or "DRAIN" in flags or "DRAINED" in flags or "DRAINING" in flags,
        note=re.sub(r" \[[^\]]*\]$", "", keys.get("Reason", "")),
        jobs=max(load.get(name, 0), int(busy)),
        last_busy=float(_number(keys.get("LastBusyTime", "")) or 0),
    )


def _gpus(text: str) -> tuple[int, set[str]]:
    """`gpu:tesla:2(S:0),nic:1` -> 2, {gpu:tesla}."""
    if "gpu" not in text:
        return 0, set()
    count, kinds = 0, set()
    for word in re.sub(r"\([^)]*\)", "", text).split(","):
        found = _GPU.fullmatch(word.strip())
        if found:
            count += int(found[2] or 1)
            kinds |= {f"gpu:{found[1]}"} if found[1] else set()
    return count, kinds


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and text.isascii() and len(text) < 19 else None


def _bytes(text: str) -> int | None:
    """`4000M`, `3G`, `2.50G`; without a unit MiB, as in Slurm."""
    found = _MEMORY.fullmatch(text.strip())
    return int(float(found[1][:15]) * _FACTOR[found[2]] * MIB) if found else None

"""HTCondor: JSON of condor_q and condor_status.

Traps: nothing at all is printed when nothing matches; expressions come as the string `/Expr(...)/`; with several
schedds there are several lists in a row; a partitionable slot is idle while its dynamic children work; ads return over
up to an hour after the collector was restarted, so absence is no death.  A drain is atomic: condor_drain's own check
refuses when a slot is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vafnebula import errors, process
from vafnebula.scale.batch import BatchView, Run, stream
from vafnebula.scale.batch.expand import MOST
from vafnebula.scale.model import Job, Node, Shape
from vafnebula.units import MIB

PATIENCE = 60.0
JOB = (
    "ClusterId", "ProcId", "JobStatus", "JobUniverse", "RequestCpus", "RequestMemory", "RequestGPUs", "QDate", "Owner",
    "RemoteHost", "HoldReason", "JobBatchName", "VafFeatures",
)  # fmt: skip
SLOT = (
    "Name", "Machine", "State", "Activity", "SlotType", "PartitionableSlot", "DynamicSlot", "Cpus", "Memory", "GPUs",
    "TotalSlotCpus", "TotalSlotMemory", "TotalSlotGPUs", "NumDynamicSlots", "ChildState", "Draining", "DrainReason",
    "VafVm", "VafFeatures",
)  # fmt: skip
LOCAL = {7, 12}
"""Universes scheduler and local: they run on the submit machine."""
IDLE, RUNNING, REMOVED, COMPLETED, HELD = 1, 2, 3, 4, 5
STATES = {IDLE: "waiting", RUNNING: "running", 6: "running", 7: "running"}
UNCLAIMED = 'State =?= "Unclaimed" && (NumDynamicSlots ?: 0) == 0'


class HtCondor:
    """`pool` is the collector, `bin` the directory of the commands; '' for the configured ones."""

    def __init__(self, options: Mapping[str, str] | None = None, run: Run = process.run) -> None:
        self.run = run
        self.bin = (options or {}).get("bin", "")
        pool = (options or {}).get("pool", "")
        self.pool = ["-pool", pool] if pool else []

    def observe(self) -> BatchView:
        busy = f"JobStatus != {REMOVED} && JobStatus != {COMPLETED}"
        queue = ["condor_q", *self.pool, "-allusers", "-global", "-json", "-constraint", busy]
        nodes = ["condor_status", *self.pool, "-json", "-attributes", ",".join(SLOT)]
        try:
            slots = self._run([*nodes])
            jobs = self._run([*queue, "-attributes", ",".join(JOB)])
        except errors.Error as e:
            return BatchView(complete=False, why=str(e))
        return parse(jobs.out, slots.out)

    def drain(self, node: str, reason: str) -> None:
        """Refused by HTCondor itself when a slot is claimed by then."""
        note = errors.one_line(reason, 200)
        self._run(["condor_drain", *self.pool, "-graceful", "-reason", note, "-check", UNCLAIMED, node])

    def undrain(self, node: str) -> None:
        self._run(["condor_drain", *self.pool, "-cancel", node])

    def remove(self, node: str) -> None:
        """Take its ads from the collector; they would otherwise stay for a quarter of an hour."""
        quoted = node.replace("\\", "").replace('"', "").replace("\n", "")
        ad = f'MyType = "Query"\nTargetType = "Machine"\nRequirements = TARGET.Machine == "{quoted}"\n'
        self._run(["condor_advertise", *self.pool, "INVALIDATE_STARTD_ADS", "-"], input=ad.encode())

    def _run(self, argv: list[str], input: bytes | None = None) -> process.Completed:
        first = f"{self.bin}/{argv[0]}" if self.bin else argv[0]
        return self.run([first, *argv[1:]], timeout=PATIENCE, input=input)


def parse(queue: bytes, nodes: bytes) -> BatchView:
    jobs, trouble = parse_jobs(queue)
    found, more = parse_nodes(nodes)
    why = trouble or more
    return BatchView(jobs, found, not why, why)


def ads(text: bytes, what: str) -> tuple[list[Mapping[str, Any]], str]:
    """All ads of all lists in `text`, none for no text at all."""
    lists = stream.documents(text.decode(errors="replace"))
    found = [ad for part in lists or [] if isinstance(part, list) for ad in part]
    good = lists is not None and all(isinstance(p, list) for p in lists) and all(isinstance(a, dict) for a in found)
    return (found, "") if good else ([], f"{what} did not print a list of ads")


def _number(value: Any, default: int) -> int:
    """An integer of an ad; what is an expression, or is not there, is `default`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e18:
        return default
    return int(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _features(value: Any) -> frozenset[str]:
    return frozenset(_text(value).replace(",", " ").split())


def parse_jobs(text: bytes) -> tuple[tuple[Job, ...], str]:
    """condor_q -json.  Returns jobs and what was not understood, '' for nothing."""
    found, trouble = ads(text, "condor_q")
    jobs: list[Job] = []
    shapes: dict[tuple[int, int, int, frozenset[str]], Shape] = {}
    for ad in found:
        status, universe = _number(ad.get("JobStatus"), -1), _number(ad.get("JobUniverse"), 5)
        if universe in LOCAL or status in (REMOVED, COMPLETED):
            continue
        cluster, proc = _number(ad.get("ClusterId"), -1), _number(ad.get("ProcId"), -1)
        if cluster < 0 or proc < 0 or status < 0 or len(jobs) >= MOST:
            trouble = "condor_q printed an ad that is not a job"
            continue
        memory = max(0, _number(ad.get("RequestMemory"), 0)) * MIB
        sizes = (max(1, _number(ad.get("RequestCpus"), 1)), memory, max(0, _number(ad.get("RequestGPUs"), 0)))
        needs = (*sizes, _features(ad.get("VafFeatures")))
        shape = shapes.setdefault(needs, Shape(*needs))
        state = STATES.get(status, "held")
        why = (_text(ad.get("HoldReason")) or f"job status {status}") if state == "held" else ""
        host = _text(ad.get("RemoteHost"))
        hosts = (host.rpartition("@")[2],) if host and state == "running" else ()
        ident, since = f"{cluster}.{proc}", float(_number(ad.get("QDate"), 0))
        user, name = _text(ad.get("Owner")), _text(ad.get("JobBatchName"))
        jobs.append(Job(ident, shape, state, 1, errors.one_line(why, 100), since, hosts, user, name))  # type: ignore[arg-type]
    return tuple(jobs), trouble


def parse_nodes(text: bytes) -> tuple[tuple[Node, ...], str]:
    """condor_status -json: slots, put together by machine."""
    found, trouble = ads(text, "condor_status")
    machines: dict[str, list[Mapping[str, Any]]] = {}
    for ad in found:
        name = _text(ad.get("Machine"))
        if not name:
            trouble = "condor_status printed an ad that is not a slot"
            continue
        machines.setdefault(name, []).append(ad)
    return tuple(_node(name, slots) for name, slots in machines.items()), trouble


def _node(name: str, slots: list[Mapping[str, Any]]) -> Node:
    fixed = [s for s in slots if s.get("DynamicSlot") is not True]
    children = [s for s in slots if s.get("DynamicSlot") is True]
    totals, left = [0, 0, 0], [0, 0, 0]
    jobs = sum(_text(c.get("State")) != "Unclaimed" for c in children)
    promised = 0
    for slot in fixed:
        sizes = [max(0, _number(slot.get(k), 0)) for k in ("Cpus", "Memory", "GPUs")]
        split = slot.get("PartitionableSlot") is True
        wholes = [max(0, _number(slot.get(f"TotalSlot{k}"), s)) for k, s in zip(("Cpus", "Memory", "GPUs"), sizes)]
        totals = [t + (w if split else s) for t, w, s in zip(totals, wholes, sizes)]
        if split:
            states = slot.get("ChildState")
            promised += max(
                _number(slot.get("NumDynamicSlots"), 0),
                sum(s != "Unclaimed" for s in states) if isinstance(states, list) else 0,
            )
            left = [a + b for a, b in zip(left, sizes)]
        elif _text(slot.get("State")) == "Unclaimed":
            left = [a + b for a, b in zip(left, sizes)]
        else:
            jobs += _text(slot.get("State")) not in ("Drained", "Owner")
    draining = any(s.get("Draining") is True or _text(s.get("State")) == "Drained" for s in slots)
    owner = bool(fixed) and all(_text(s.get("State")) == "Owner" for s in fixed)
    features = frozenset(f for s in slots for f in _features(s.get("VafFeatures")))
    vms = {_number(s.get("VafVm"), -1) for s in slots} - {-1}
    return Node(
        name,
        Shape(totals[0], totals[1] * MIB, totals[2], features),
        Shape(0 if owner else left[0], left[1] * MIB, left[2], features),
        "up" if fixed else "down",
        draining,
        next((_text(s.get("DrainReason")) for s in slots if _text(s.get("DrainReason"))), "") if draining else "",
        jobs=max(jobs, promised),
        vm=vms.pop() if len(vms) == 1 else None,
    )

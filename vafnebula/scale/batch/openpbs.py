"""OpenPBS 20 to 23: JSON of `qstat -t -f -F json` and `pbsnodes -a -F json`.

Traps: the JSON is often none (a number with leading zeros is not quoted, a backslash is not escaped, -t prints several
documents); `qstat -x` means finished jobs; pieces of a job share a node unless `place=scatter`; an array's own limit is
an attribute of its parent; a job that waits for a limit is in state Q and only its comment says so.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from vafnebula import errors, process
from vafnebula.scale.batch import BatchView, Run, pbs, stream
from vafnebula.scale.batch.expand import MOST
from vafnebula.scale.model import Job, Node, Shape

RUNNING = {"R", "E", "S", "U"}
DONE = {"F", "X", "M"}
PARENT = "B"
WHY = {"H": "held", "W": "it waits for its start time", "T": "it is being moved"}
DOWN = {"down", "state-unknown", "unknown", "stale", "provisioning", "wait-provisioning", "sleep", "unresolvable"}
FULL = {"job-exclusive", "job-busy", "busy", "resv-exclusive", "maintenance"}

_OTHERWISE = re.compile(r"limit|reserv|dedicated|not started|licen|hold|prime", re.IGNORECASE)
"""In the comment of a queued job: it waits for something that a VM would not bring."""
_BAD_ESCAPE = re.compile(r'\\(?!["\\/bfnrtu])')
_BARE = re.compile(r'(:\s*)(0[0-9]+|[0-9][^\s,"\]}{\[:]*[A-Za-z_:][^\s,"\]}]*)(?=\s*[,}\]])')
_VARIABLES = re.compile(r'"Variable_List"\s*:\s*\{[^{}]*\}')


class OpenPbs:
    """`bin` is the directory of the commands, '' for PATH."""

    def __init__(self, options: Mapping[str, str] | None = None, run: Run = process.run) -> None:
        self.run = run
        self.bin = (options or {}).get("bin", "")

    def observe(self) -> BatchView:
        try:
            nodes = self.run([self._program("pbsnodes"), "-a", "-F", "json"], timeout=pbs.PATIENCE, check=False)
            if nodes.code != 0 and b"Server has no node list" not in nodes.err:
                raise pbs.failed(nodes)  # that message is what a server without any node says
            jobs = self.run([self._program("qstat"), "-t", "-f", "-F", "json"], timeout=pbs.PATIENCE)
        except errors.Error as e:
            return BatchView(complete=False, why=str(e))
        return parse(jobs.out, nodes.out)

    def drain(self, node: str, reason: str) -> None:
        note = errors.one_line(reason, 200)
        self.run([self._program("pbsnodes"), "-o", "-C", note, pbs.named(node)], timeout=pbs.PATIENCE)

    def undrain(self, node: str) -> None:
        self.run([self._program("pbsnodes"), "-r", "-C", "", pbs.named(node)], timeout=pbs.PATIENCE)

    def remove(self, node: str) -> None:
        pbs.delete(self.run, self._program("qmgr"), node)

    def _program(self, name: str) -> str:
        return f"{self.bin}/{name}" if self.bin else name


def parse(queue: bytes, nodes: bytes) -> BatchView:
    jobs, trouble = parse_jobs(queue)
    found, more = parse_nodes(nodes)
    why = trouble or more
    return BatchView(jobs, found, not why, why)


def mappings(text: bytes, key: str, what: str) -> tuple[dict[str, Any], str]:
    """The mappings `key` of all documents in `text`, as one; and what was not understood."""
    body = text.decode(errors="replace")
    for attempt in (body, _mended(body)):
        found = stream.documents(attempt)
        if found is not None:
            parts = [d.get(key, {}) if isinstance(d, dict) else None for d in found]
            good = [p for p in parts if isinstance(p, dict)]
            trouble = "" if len(good) == len(parts) else f"{what} printed something else than {key}"
            return {k: v for part in good for k, v in part.items()}, trouble
    return {}, f"{what} did not print JSON"


def _mended(text: str) -> str:
    """What OpenPBS forgot to quote, quoted; variables of users, where most of that is, taken out."""
    text = _BAD_ESCAPE.sub(r"\\\\", text)
    return _BARE.sub(r'\1"\2"', _VARIABLES.sub('"Variable_List":{}', text))


def _word(value: Any) -> str:
    """A string or number as text; '' for anything else."""
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def parse_jobs(text: bytes) -> tuple[tuple[Job, ...], str]:
    """`qstat -t -f -F json`.  Returns jobs and what was not understood, '' for nothing."""
    entries, trouble = mappings(text, "Jobs", "qstat")
    limits: dict[str, int] = {}
    running: Counter[str] = Counter()
    for ident, value in entries.items():
        state = _word(_mapping(value).get("job_state"))
        limit = pbs.number(_word(_mapping(value).get("max_run_subjobs")))
        if state == PARENT and limit is not None:
            limits[ident.split("[")[0]] = limit
        if state in RUNNING and "[" in ident:
            running[ident.split("[")[0]] += 1
    jobs: list[Job] = []
    shapes: dict[str, tuple[Shape, int, bool] | None] = {}
    for ident, value in entries.items():
        entry = _mapping(value)
        state = _word(entry.get("job_state"))
        if state in DONE or state == PARENT:
            continue
        resources, queue = _mapping(entry.get("Resource_List")), _word(entry.get("queue"))
        key = json.dumps([resources.get(k) for k in ("select", "place", "ncpus", "mem", "ngpus")] + [queue])
        if key not in shapes:
            shapes[key] = need(resources, queue)
        found = shapes[key]
        if not state or found is None or len(jobs) >= MOST:
            trouble = f"job {errors.one_line(ident, 40)} cannot be read"
            continue
        jobs.append(_job(ident, state, entry, found, limits, running))
    return tuple(jobs), trouble


def _job(
    ident: str,
    state: str,
    entry: Mapping[str, Any],
    found: tuple[Shape, int, bool],
    limits: dict[str, int],
    running: Counter[str],
) -> Job:
    shape, nodes, spread = found
    since = _when(_word(entry.get("qtime")))
    user, name = _word(entry.get("Job_Owner")).partition("@")[0], _word(entry.get("Job_Name"))
    if state in RUNNING:
        parts = _word(entry.get("exec_host")).split("+")
        hosts = tuple(dict.fromkeys(p.split("/")[0] for p in parts if p))
        return Job(ident, shape, "running", nodes, "", since, hosts, user, name, spread)
    comment, array = _word(entry.get("comment")), ident.split("[")[0]
    why = WHY.get(state, "" if state == "Q" else f"state {errors.one_line(state, 10)}")
    if not why and _OTHERWISE.search(comment):
        why = errors.one_line(comment, 100)
    if not why and "[" in ident and array in limits:
        if running[array] >= limits[array]:
            why = f"the array's limit of {limits[array]} at a time"
        running[array] += 1
    return Job(ident, shape, "held" if why else "waiting", nodes, why, since, (), user, name, spread)


def _when(text: str) -> float:
    """`Mon Nov 25 19:00:00 2024`, in local time, or a number of seconds; 0 when it is neither."""
    number = pbs.number(text)
    if number is not None:
        return float(number)
    try:
        return time.mktime(time.strptime(text, "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return 0.0


def need(resources: Mapping[str, Any], queue: str) -> tuple[Shape, int, bool] | None:
    """The shape of a piece, how many, and whether they must be on different nodes; of unequal chunks the largest."""
    select, place = _word(resources.get("select")), _word(resources.get("place"))
    if not select:
        keys = ("ncpus", "mem", "ngpus")
        select = "1:" + ":".join(f"{k}={_word(resources.get(k))}" for k in keys if _word(resources.get(k)))
    cores, memory, gpus, count, features = 0, 0, 0, 0, set()
    for chunk in select.split("+"):
        first, *rest = chunk.split(":")
        times = pbs.number(first)
        if times is None:
            rest, times = [first, *rest], 1
        count += times
        own = dict(r.split("=", 1) for r in rest if "=" in r)
        ncpus, mem, ngpus = pbs.number(own.get("ncpus", "1")), pbs.size(own.get("mem", "0")), own.get("ngpus", "0")
        if ncpus is None or mem is None:
            return None
        cores, memory, gpus = max(cores, ncpus), max(memory, mem), max(gpus, pbs.number(ngpus) or 0)
        features |= {v for k, v in own.items() if k in ("host", "vnode", "vaf")}
        features |= {k for k, v in own.items() if v.lower() == "true"}
    if not 1 <= count <= MOST:
        return None
    whole = "excl" in place
    shape = Shape(max(1, cores), memory, gpus, frozenset(features), frozenset({queue} if queue else ()), whole)
    return shape, count, whole or "scatter" in place


def parse_nodes(text: bytes) -> tuple[tuple[Node, ...], str]:
    """`pbsnodes -a -F json`."""
    entries, trouble = mappings(text, "nodes", "pbsnodes")
    nodes = []
    for name, value in entries.items():
        node = _node(name, _mapping(value))
        if node is None:
            trouble = f"node {errors.one_line(name, 40)} cannot be read"
            continue
        nodes.append(node)
    return tuple(nodes), trouble


def _node(name: str, entry: Mapping[str, Any]) -> Node | None:
    states = {s.strip() for s in _word(entry.get("state")).split(",") if s.strip()}
    available, assigned = _mapping(entry.get("resources_available")), _mapping(entry.get("resources_assigned"))
    cores = pbs.number(_word(available.get("ncpus", entry.get("pcpus"))))
    taken = pbs.number(_word(assigned.get("ncpus", 0)))
    memory, used = pbs.size(_word(available.get("mem", 0))), pbs.size(_word(assigned.get("mem", 0)))
    listed = entry.get("jobs", [])
    if not states or cores is None or taken is None or memory is None or used is None or not isinstance(listed, list):
        return None
    gpus = pbs.number(_word(available.get("ngpus", 0))) or 0
    gpus_used = pbs.number(_word(assigned.get("ngpus", 0))) or 0
    features = frozenset(k for k, v in available.items() if _word(v).lower() == "true") | frozenset(
        _word(available.get(k)) for k in ("host", "vnode", "vaf") if _word(available.get(k))
    )
    queue = _word(entry.get("queue"))
    queues = frozenset({queue} if queue else ())
    full = not FULL.isdisjoint(states)
    return Node(
        name,
        Shape(cores, memory, gpus, features, queues),
        Shape(0 if full else max(0, cores - taken), max(0, memory - used), max(0, gpus - gpus_used), features, queues),
        "down" if not DOWN.isdisjoint(states) else "up",
        draining="offline" in states,
        note=_word(entry.get("comment")),
        jobs=max(len({_word(j).split("/")[0] for j in listed}), int(taken > 0)),
    )

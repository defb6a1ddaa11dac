"""TORQUE 2.4 to 6: XML of `qstat -x -t` and `pbsnodes -x`.

Traps: nothing at all is printed when there are no jobs (before the fix of torque#357); an array is one entry without
-t; slots are `0/12.srv, 1/12.srv` up to 4 and ranges `0-3/12.srv` from 5 on; a node that was just created is down until
its mom says hello; OpenPBS's `qstat -x` is something else entirely, so the dialect is asked for first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from vafnebula import errors, process
from vafnebula.scale.batch import BatchView, Run, pbs
from vafnebula.scale.batch.expand import MOST, ranges
from vafnebula.scale.model import Job, Node, Shape

RUNNING = {"R", "E", "S"}
DONE = {"C", "F"}
WHY = {"H": "held", "W": "it waits for its start time", "T": "it is being moved"}
DOWN = {"down", "state-unknown", "unknown", "<various>"}
FULL = {"job-exclusive", "busy", "reserve", "job-sharing"}

_PROPERTY = re.compile(r"([a-z]+)=([0-9]{1,9})")


class Torque:
    """`bin` is the directory of the commands, '' for PATH."""

    def __init__(self, options: Mapping[str, str] | None = None, run: Run = process.run) -> None:
        self.run = run
        self.bin = (options or {}).get("bin", "")
        self.known = False

    def observe(self) -> BatchView:
        try:
            if not self.known:
                version = self.run([self._program("pbsnodes"), "--version"], timeout=pbs.PATIENCE, check=False)
                if openpbs(version.out + version.err):
                    return BatchView(complete=False, why="these are OpenPBS's commands: set batch.system to openpbs")
                self.known = True
            nodes = self.run([self._program("pbsnodes"), "-x"], timeout=pbs.PATIENCE, check=False)
            if nodes.code != 0 and b"MSG=cannot locate specified node" not in nodes.err:
                raise pbs.failed(nodes)  # that message is what a server without any node says
            jobs = self.run([self._program("qstat"), "-x", "-t"], timeout=pbs.PATIENCE)
        except errors.Error as e:
            return BatchView(complete=False, why=str(e))
        return parse(jobs.out, nodes.out)

    def drain(self, node: str, reason: str) -> None:
        note = errors.one_line(reason, 200)
        self.run([self._program("pbsnodes"), "-o", pbs.named(node), "-N", note], timeout=pbs.PATIENCE)

    def undrain(self, node: str) -> None:
        self.run([self._program("pbsnodes"), "-c", pbs.named(node), "-N", ""], timeout=pbs.PATIENCE)

    def remove(self, node: str) -> None:
        pbs.delete(self.run, self._program("qmgr"), node)

    def _program(self, name: str) -> str:
        return f"{self.bin}/{name}" if self.bin else name


def openpbs(version: bytes) -> bool:
    """Whether `pbsnodes --version` is OpenPBS's (`pbs_version = 23.06.06`) and not TORQUE's (`Version: 6.1.2`)."""
    return b"pbs_version" in version.lower()


def parse(queue: bytes, nodes: bytes) -> BatchView:
    jobs, trouble = parse_jobs(queue)
    found, more = parse_nodes(nodes, jobs)
    why = trouble or more
    return BatchView(jobs, found, not why, why)


def _tree(text: bytes, what: str) -> tuple[list[ElementTree.Element], str]:
    if not text.strip():
        return [], ""
    text = _without_variables(text)
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return [], f"{what} printed a document type"
    try:
        return list(ElementTree.fromstring(text)), ""  # noqa: S314  document types are refused above
    except (ElementTree.ParseError, ValueError, LookupError) as e:
        return [], f"{what} did not print XML: {e}"


def _without_variables(text: bytes) -> bytes:
    """Users' environments are most of the text, none of our business, and the first to hold odd bytes."""
    first, *parts = text.split(b"<Variable_List>")
    return b"".join([first, *(part.partition(b"</Variable_List>")[2] for part in parts)])


def _texts(element: ElementTree.Element) -> dict[str, str]:
    """The children's texts by their tags: one walk instead of a search per tag."""
    return {child.tag: child.text.strip() if child.text else "" for child in element}


def parse_jobs(text: bytes) -> tuple[tuple[Job, ...], str]:
    """`qstat -x -t`.  Returns jobs and what was not understood, '' for nothing."""
    entries, trouble = _tree(text, "qstat")
    jobs: list[Job] = []
    shapes: dict[tuple[str, ...], tuple[Shape, int, bool] | None] = {}
    for entry in entries:
        texts = _texts(entry)
        ident, state = texts.get("Job_Id", ""), texts.get("job_state", "")
        if state in DONE:
            continue
        resources = entry.find("Resource_List")
        asked = _texts(resources) if resources is not None else {}
        needs = (*(asked.get(k, "") for k in ("nodes", "procs", "ncpus", "mem", "pmem")), texts.get("queue", ""))
        if needs not in shapes:
            shapes[needs] = need(*needs)
        found = shapes[needs]
        if not ident or not state or found is None or len(jobs) >= MOST:
            trouble = f"job {errors.one_line(ident, 40) or '?'} cannot be read"
            continue
        shape, nodes, spread = found
        since = float(pbs.number(texts.get("qtime", "")) or 0)
        user, name = texts.get("Job_Owner", "").partition("@")[0], texts.get("Job_Name", "")
        if state in RUNNING:
            jobs.append(
                Job(ident, shape, "running", nodes, "", since, _hosts(texts.get("exec_host", "")), user, name, spread)
            )
        elif state == "Q":
            jobs.append(Job(ident, shape, "waiting", nodes, "", since, (), user, name, spread))
        else:
            why = WHY.get(state, f"state {errors.one_line(state, 10)}")
            jobs.append(Job(ident, shape, "held", nodes, why, since, (), user, name, spread))
    return tuple(jobs), trouble


def _hosts(text: str) -> tuple[str, ...]:
    """`n1/0+n1/1+n2/0` and `n1/0-3+n2/0` -> n1, n2."""
    return tuple(dict.fromkeys(p.split("/")[0] for p in text.split("+") if p))


def need(nodes: str, procs: str, ncpus: str, mem: str, pmem: str, queue: str) -> tuple[Shape, int, bool] | None:
    """A job's need: the shape of a piece, how many, and whether they must be on different nodes.

    `nodes` is `2:ppn=4:gpus=1:prop+1:host`.  Of unequal parts the largest counts.  A host's name is a feature that no
    template offers.
    """
    cores, gpus, count, features = 1, 0, 0, set()
    for part in nodes.split("+") if nodes else []:
        first, *rest = part.split(":")
        times = pbs.number(first)
        if times is None:
            rest, times = [first, *rest], 1
        count += times
        for word in rest:
            found = _PROPERTY.fullmatch(word)
            if found and found[1] == "ppn":
                cores = max(cores, int(found[2]))
            elif found and found[1] == "gpus":
                gpus = max(gpus, int(found[2]))
            elif word and "=" not in word and word not in ("shared", "exclusive_process", "default"):
                features.add(word)
    spread = True
    if not nodes and procs:
        count, spread = pbs.number(procs) or 0, False
    elif not nodes and ncpus:
        count, cores = 1, pbs.number(ncpus) or 0
    total, each = pbs.size(mem) if mem else 0, pbs.size(pmem) if pmem else 0
    count = count or 1
    if cores < 1 or total is None or each is None or count > MOST:
        return None
    memory = max(-(-total // count), each * cores)
    return Shape(cores, memory, gpus, frozenset(features), frozenset({queue} if queue else ())), count, spread


def parse_nodes(text: bytes, jobs: tuple[Job, ...]) -> tuple[tuple[Node, ...], str]:
    """`pbsnodes -x`.  Memory that jobs take is not in it: it is summed up from `jobs`."""
    entries, trouble = _tree(text, "pbsnodes")
    load: dict[str, int] = {}
    memory: dict[str, int] = {}
    for job in jobs:
        if job.state == "running":
            for host in job.hosts:
                load[host] = load.get(host, 0) + 1
                memory[host] = memory.get(host, 0) + job.shape.memory
    nodes = []
    for entry in entries:
        texts = _texts(entry)
        node = _node(texts, load, memory)
        if node is None:
            trouble = f"node {errors.one_line(texts.get('name', ''), 40) or '?'} cannot be read"
            continue
        nodes.append(node)
    return tuple(nodes), trouble


def _node(texts: Mapping[str, str], load: Mapping[str, int], memory: Mapping[str, int]) -> Node | None:
    name, states = texts.get("name", ""), {s.strip() for s in texts.get("state", "").split(",") if s.strip()}
    cores = pbs.number(texts.get("np", ""))
    slots = used(texts.get("jobs", ""))
    if not name or not states or cores is None or slots is None:
        return None
    status = dict(p.split("=", 1) for p in texts.get("status", "").split(",") if "=" in p)
    physical = pbs.size(status.get("physmem", "0")) or 0
    gpus = pbs.number(texts.get("gpus", "")) or 0
    features = frozenset(p.strip() for p in texts.get("properties", "").split(",") if p.strip())
    on_it = max(len({job for _, job in slots}), load.get(name, 0))
    free = 0 if not FULL.isdisjoint(states) else max(0, cores - len(slots))
    return Node(
        name,
        Shape(cores, physical, gpus, features),
        Shape(free, max(0, physical - memory.get(name, 0)), gpus if not slots else 0, features),
        "down" if not DOWN.isdisjoint(states) else "up",
        draining="offline" in states,
        note=texts.get("note", ""),
        jobs=on_it,
    )


def used(text: str) -> list[tuple[int, str]] | None:
    """Slots and their jobs: `0/12.srv, 1/12.srv` and `0-3,5/12.srv,4/13.srv`; None when it cannot be read."""
    out: list[tuple[int, str]] = []
    pending: list[str] = []
    for part in text.split(","):
        slot, slash, job = part.strip().partition("/")
        if not slot:
            continue
        pending.append(slot)
        if not slash:
            continue  # `0-3,5/12.srv`: the first range of two
        numbers = ranges(",".join(pending))
        if numbers is None or len(out) + len(numbers) > MOST:
            return None
        out += [(n, job) for n in numbers]
        pending = []
    return None if pending else out

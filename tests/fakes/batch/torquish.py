"""qstat, pbsnodes and qmgr of TORQUE 6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from vafnebula.scale.model import Job, Node
from vafnebula.units import KIB

if TYPE_CHECKING:
    from tests.fakes.batch import Site

SERVER = ".head.site.org"


def answer(site: Site, argv: list[str], _input: bytes) -> tuple[int, str, str]:
    if argv[0] == "qstat":
        jobs = site.jobs()
        return 0, f"<Data>{''.join(_job(j) for j in jobs)}</Data>" if jobs else "", ""
    if argv[0] == "qmgr":
        name = argv[2].split()[-1]
        if site.remove(name):
            return 0, "", ""
        return 170, "", f"qmgr obj={name} svr=default: Unknown node \n"
    if argv[1] == "--version":
        return 0, "", "Version: 6.1.2\nCommit: 661e092552de43a785c15d39a3634a541d86898e\n"
    if argv[1] == "-x":
        nodes = site.nodes()
        if not nodes:
            return 1, "", "pbsnodes: MSG=cannot locate specified node\n"
        return 0, f"<Data>{''.join(_node(n, site.jobs()) for n in nodes)}</Data>", ""
    option, name, _, note = argv[1:]
    done = site.drain(name, note) if option == "-o" else site.undrain(name)
    return (0, "", "") if done else (1, "", f"Unknown node  MSG=cannot locate specified node {name}\n")


def _job(job: Job) -> str:
    s = job.shape
    state = {"waiting": "Q", "held": "H", "running": "R"}[job.state]
    extra = "".join(f":{escape(f)}" for f in sorted(s.features)) + (f":gpus={s.gpus}" if s.gpus else "")
    hosts = "+".join(f"{h}/0-{s.cores - 1}" for h in job.hosts)
    return (
        f"<Job><Job_Id>{escape(job.id)}{SERVER}</Job_Id><Job_Name>{escape(job.name or 'STDIN')}</Job_Name>"
        f"<Job_Owner>anna@head.site.org</Job_Owner><job_state>{state}</job_state><queue>batch</queue>"
        + (f"<exec_host>{escape(hosts)}</exec_host>" if hosts else "")
        + f"<qtime>{job.since:.0f}</qtime><Resource_List><nodes>{job.nodes}:ppn={s.cores}{extra}</nodes>"
        f"<pmem>{s.memory // s.cores // KIB}kb</pmem></Resource_List>"
        "<Variable_List>PBS_O_HOME=/home/anna,X=\x01</Variable_List></Job>"
    )


def _node(node: Node, jobs: list[Job]) -> str:
    used, first = [], 0
    for job in jobs:
        if node.name in job.hosts:
            used.append(f"{first}-{first + job.shape.cores - 1}/{job.id}{SERVER}")
            first += job.shape.cores
    states = ["down"] * (node.state == "down") + ["offline"] * node.draining or ["free"]
    return (
        f"<Node><name>{escape(node.name)}</name><state>{','.join(states)}</state><np>{node.total.cores}</np>"
        f"<properties>{escape(','.join(sorted(node.total.features)))}</properties><ntype>cluster</ntype>"
        f"<jobs>{escape(','.join(used))}</jobs><status>physmem={node.total.memory // KIB}kb,state=free</status>"
        f"<note>{escape(node.note)}</note><gpus>{node.total.gpus}</gpus></Node>"
    )

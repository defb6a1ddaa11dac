"""qstat, pbsnodes and qmgr of OpenPBS 23.06, with its unquoted numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vafnebula.scale.model import Job, Node
from vafnebula.units import KIB

if TYPE_CHECKING:
    from tests.fakes.batch import Site

HEAD = {"timestamp": 1700000000, "pbs_version": "23.06.06", "pbs_server": "head"}


def answer(site: Site, argv: list[str], _input: bytes) -> tuple[int, str, str]:
    if argv[0] == "qstat":
        text = json.dumps({**HEAD, "Jobs": {f"{j.id}.head": _job(j) for j in site.jobs()}}, indent=4)
        return 0, text.replace('"BARE"', "005"), ""
    if argv[0] == "qmgr":
        name = argv[2].split()[-1]
        if site.remove(name):
            return 0, "", ""
        return 1, "", f"qmgr obj={name} svr=default: Unknown node\nqmgr: Error (15062) returned from server\n"
    if argv[1] == "-a":
        nodes = site.nodes()
        if not nodes:
            return 1, "", "pbsnodes: Server has no node list\n"
        return 0, json.dumps({**HEAD, "nodes": {n.name: _node(n, site.jobs()) for n in nodes}}), ""
    option, _, note, name = argv[1:]
    done = site.drain(name, note) if option == "-o" else site.undrain(name)
    return (0, "", "") if done else (1, "", f"pbsnodes: Unknown node {name}\n")


def _job(job: Job) -> dict[str, Any]:
    s = job.shape
    chunk = f"ncpus={s.cores}:mem={s.memory // KIB}kb" + f":ngpus={s.gpus}" * bool(s.gpus)
    chunk += "".join(f":{f}=true" for f in sorted(s.features))
    return {
        "Job_Name": job.name or "STDIN",
        "Job_Owner": "anna@head.site.org",
        "job_state": {"waiting": "Q", "held": "H", "running": "R"}[job.state],
        "queue": "workq",
        "comment": "Not Running: Insufficient amount of resource: ncpus",
        "Resource_List": {
            "select": f"{job.nodes}:{chunk}",
            "place": "scatter" + ":excl" * s.whole,
            "nodect": job.nodes,
        },
        **({"exec_host": "+".join(f"{h}/0*{s.cores}" for h in job.hosts)} if job.hosts else {}),
        "Variable_List": {"PBS_O_X": "BARE"},
    }


def _node(node: Node, jobs: list[Job]) -> dict[str, Any]:
    total, free = node.total, node.free
    states = ["down"] * (node.state == "down") + ["offline"] * node.draining or ["free"]
    return {
        "state": ",".join(states),
        "jobs": [f"{j.id}.head/0" for j in jobs if node.name in j.hosts],
        "resources_available": {
            "host": node.name,
            "ncpus": total.cores,
            "mem": f"{total.memory // KIB}kb",
            "ngpus": total.gpus,
            **dict.fromkeys(total.features, "True"),
        },
        "resources_assigned": {
            "ncpus": total.cores - free.cores,
            "mem": f"{(total.memory - free.memory) // KIB}kb",
            "ngpus": total.gpus - free.gpus,
        },
        **({"comment": node.note} if node.note else {}),
    }

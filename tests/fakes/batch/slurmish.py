"""squeue and scontrol of Slurm 22.05; messages as recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vafnebula.scale.batch.slurm import FIELDS, SEPARATOR
from vafnebula.scale.model import Job, Node
from vafnebula.units import MIB

if TYPE_CHECKING:
    from tests.fakes.batch import Site


def answer(site: Site, argv: list[str], _input: bytes) -> tuple[int, str, str]:
    if argv[0] == "squeue":
        return 0, "".join(_job(j) for j in site.jobs()), ""
    words = [a for a in argv[1:] if not a.startswith("-")]
    keys = dict(w.split("=", 1) for w in words if "=" in w)
    if words[:2] == ["show", "config"]:
        return 0, "SelectTypeParameters    = CR_CORE_MEMORY\n", ""
    if words[:2] == ["show", "node"]:
        return 0, "".join(_node(n) for n in site.nodes()) or "No nodes in the system\n", ""
    if words[0] == "update" and keys["state"] == "drain":
        done = site.drain(keys["nodename"], keys["reason"])
        return (0, "", "") if done else (1, "", "slurm_update error: Invalid node name specified\n")
    if words[0] == "update" and keys["state"] == "undrain":
        done = site.undrain(keys["nodename"])
        return (0, "", "") if done else (1, "", "slurm_update error: Invalid node state specified\n")
    if words[0] == "delete":
        done = site.remove(keys["nodename"])
        return (
            (0, "", "") if done else (1, "", f"delete_node nodename={keys['nodename']}: Invalid node name specified\n")
        )
    return 1, "", f"invalid keyword: {words[0]}\n"


def _job(job: Job) -> str:
    s, mib = job.shape, job.shape.memory // MIB
    state = {"waiting": "PENDING", "held": "PENDING", "running": "RUNNING"}[job.state]
    values = {
        "JobArrayID": job.id,
        "State": state,
        "NumNodes": str(job.nodes),
        "tres-alloc": f"cpu={s.cores * job.nodes},mem={mib * job.nodes}M,node={job.nodes}",
        "tres-per-node": f"gres:gpu:{s.gpus}" if s.gpus else "N/A",
        "tres-per-job": "N/A",
        "MinMemory": f"{mib}M",
        "OverSubscribe": "NO" if s.whole else "OK",
        "SubmitTime": f"{job.since:.0f}",
        "NodeList": ",".join(job.hosts),
        "Partition": "batch",
        "ReqNodes": "",
        "Reservation": "(null)",
        "Reason": {"waiting": "Resources", "held": "JobHeldUser", "running": "None"}[job.state],
        "UserName": "anna",
        "Feature": "&".join(sorted(s.features)) or "(null)",
    }
    return SEPARATOR.join(values[f] for f in FIELDS) + SEPARATOR + "\n"


def _node(node: Node) -> str:
    total, free = node.total, node.free
    used = total.cores - free.cores
    base = "DOWN" if node.state == "down" else "IDLE" if not used else "ALLOCATED" if not free.cores else "MIXED"
    state = base + "+DYNAMIC_NORM" + "+DRAIN" * node.draining
    return (
        f"NodeName={node.name} Arch=x86_64 CPUAlloc={used} CPUEfctv={total.cores} CPUTot={total.cores} "
        f"ActiveFeatures={','.join(sorted(total.features)) or '(null)'} Gres=gpu:{total.gpus} "
        f"GresUsed=gpu:{total.gpus - free.gpus} OS=Linux 6.1 #1 SMP  RealMemory={total.memory // MIB} "
        f"AllocMem={(total.memory - free.memory) // MIB} State={state} Partitions=batch "
        f"LastBusyTime={node.last_busy:.0f}" + (f" Reason={node.note} [root@1795634018]" if node.note else "") + "\n"
    )

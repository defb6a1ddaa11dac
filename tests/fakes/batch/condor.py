"""condor_q, condor_status, condor_drain and condor_advertise of HTCondor 23.  A job runs on one node."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from vafnebula.scale.model import Job, Node
from vafnebula.units import MIB

if TYPE_CHECKING:
    from tests.fakes.batch import Site

DOMAIN = ".site.org"


def answer(site: Site, argv: list[str], input: bytes) -> tuple[int, str, str]:
    if argv[0] == "condor_q":
        return 0, _list([_job(n, j) for n, j in enumerate(site.jobs())]), ""
    if argv[0] == "condor_status":
        return 0, _list([ad for n in site.nodes() for ad in _slots(n, site.jobs())]), ""
    if argv[0] == "condor_advertise":
        found = re.search(rb'TARGET.Machine == "([^"]*)"', input)
        site.remove(_bare(found[1].decode() if found else ""))
        return 0, "Sent 1 of 1 ad to 1 collector successfully.\n", ""
    name = _bare(argv[-1])
    if "-cancel" in argv:
        done = site.undrain(name)
        return (0, "", "") if done else (1, "", "Attempt to send CANCEL_DRAIN_JOBS request failed\n")
    node = next((n for n in site.nodes() if n.name == name), None)
    if node is None or (node.jobs and "-check" in argv):
        why = "Sorry, -check expression is false on slot1" if node else f"Can't find address for startd {argv[-1]}"
        return 1, "", f"ERROR: {why}\n"
    site.drain(name, argv[argv.index("-reason") + 1])
    return 0, f"Sent request to drain {argv[-1]}\n", ""


def _bare(name: str) -> str:
    return name.removesuffix(DOMAIN)


def _list(ads: list[dict[str, Any]]) -> str:
    """Nothing at all when there is nothing."""
    return "[\n" + "\n,\n".join(json.dumps(ad, indent=2) for ad in ads) + "\n]\n" if ads else ""


def _job(number: int, job: Job) -> dict[str, Any]:
    ad: dict[str, Any] = {
        "ClusterId": number + 1,
        "ProcId": 0,
        "JobStatus": {"waiting": 1, "held": 5, "running": 2}[job.state],
        "JobUniverse": 5,
        "Owner": "anna",
        "QDate": int(job.since),
        "RequestCpus": job.shape.cores,
        "RequestMemory": job.shape.memory // MIB,
        "JobBatchName": job.id,
    }
    if job.shape.gpus:
        ad["RequestGPUs"] = job.shape.gpus
    if job.shape.features:
        ad["VafFeatures"] = ",".join(sorted(job.shape.features))
    if job.hosts:
        ad["RemoteHost"] = f"slot1_1@{job.hosts[0]}{DOMAIN}"
    return ad


def _slots(node: Node, jobs: list[Job]) -> list[dict[str, Any]]:
    """A partitionable slot and its children; nothing of a machine that is down."""
    if node.state == "down":
        return []
    mine = [j for j in jobs if node.name in j.hosts]
    common = {"Machine": node.name + DOMAIN, "VafFeatures": ",".join(sorted(node.total.features))}
    if node.vm is not None:
        common = {**common, "VafVm": node.vm}  # type: ignore[dict-item]
    parent = {
        **common,
        "Name": f"slot1@{node.name}{DOMAIN}",
        "PartitionableSlot": True,
        "State": "Drained" if node.draining and not mine else "Unclaimed",
        "Activity": "Retiring" if node.draining else "Idle",
        "Cpus": node.free.cores,
        "Memory": node.free.memory // MIB,
        "GPUs": node.free.gpus,
        "TotalSlotCpus": node.total.cores,
        "TotalSlotMemory": node.total.memory // MIB,
        "TotalSlotGPUs": node.total.gpus,
        "NumDynamicSlots": len(mine),
        "ChildState": ["Claimed"] * len(mine),
    }
    if node.draining:
        parent |= {"Draining": True, "DrainReason": node.note}
    children = [
        {
            **common,
            "Name": f"slot1_{i + 1}@{node.name}{DOMAIN}",
            "DynamicSlot": True,
            "State": "Claimed",
            "Activity": "Busy",
            "Cpus": j.shape.cores,
            "Memory": j.shape.memory // MIB,
        }
        for i, j in enumerate(mine)
    ]
    return [parent, *children]

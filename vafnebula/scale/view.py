"""What a report says, for a page, for JSON and for a terminal.  Pure; every text in it may be hostile."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from vafnebula import errors
from vafnebula.one.vms import Listed
from vafnebula.scale.cloud import ACTIVE
from vafnebula.scale.decide import Decision
from vafnebula.scale.journal import Record
from vafnebula.scale.loop import Report
from vafnebula.scale.model import Job, Policy, Reasons, Snapshot
from vafnebula.scale.squeeze import Row
from vafnebula.scale.state import State, written


def page(report: Report | None, state: State, policy: Policy, most: int) -> dict[str, Any]:
    """What pages/index.html shows."""
    if report is None:
        return {"report": None}
    jobs = [j for j in report.snapshot.jobs if j.state != "running"]
    states = [j.state for j in report.snapshot.jobs]
    return {
        "report": report,
        "when": stamp(report.snapshot.now),
        "jobs": [(j, report.reasons.of_job(j), stamp(j.since)) for j in jobs[:most]],
        "left_out": max(0, len(jobs) - most),
        "waiting": states.count("waiting"),
        "held": states.count("held"),
        "running": states.count("running"),
        "bounds": state.bounds,
        "pools": [(view, policy.pool(view.name)) for view in report.reasons.pools],
        "sources": [("batch system", report.snapshot.batch), ("OpenNebula", report.snapshot.cloud)],
    }


def monitor(vms: Iterable[Listed], rows: Sequence[Row], state: State) -> list[tuple[str, list[dict[str, Any]]]]:
    """The Xen prototype's table: per node its VMs, with CPU time, memory, cap and weight as far as they are known."""
    known = {row.vm: row for row in rows}
    hosts: dict[str, list[dict[str, Any]]] = {}
    for vm in sorted(vms, key=lambda v: (v.host, v.id)):
        if not vm.host or vm.state != ACTIVE:
            continue
        row = known.get(vm.id)
        squeezed = state.squeezed.get(vm.id)
        hosts.setdefault(vm.host, []).append(
            {
                "id": vm.id,
                "name": vm.name,
                "role": row.role if row else vm.labels.get("VAF_POOL", ""),
                "cpu_time": span(row.usage.cpu) if row else "",
                "cpu": f"{vm.usage[0]:.0f} %",
                "memory": mib(row.usage.memory * 1024 if row else vm.usage[1] or vm.memory),
                "cap": f"{row.usage.cap:g} cores" if row and row.usage.cap else "none" if row else "",
                "weight": row.usage.shares if row else "",
                "own": squeezed.shares if squeezed else "",
            }
        )
    return sorted(hosts.items())


def status(report: Report | None, state: State) -> dict[str, Any]:
    """The last cycle as JSON."""
    if report is None:
        return {"looked": None}
    reasons, snapshot = report.reasons, report.snapshot
    states = [j.state for j in snapshot.jobs]
    return {
        "looked": snapshot.now,
        "leads": report.leads,
        "standby": report.standby,
        "hold": reasons.hold.text if reasons.hold else None,
        "sources": {"batch": asdict(snapshot.batch), "cloud": asdict(snapshot.cloud)},
        "jobs": {state: states.count(state) for state in ("waiting", "held", "running")},
        "pools": [
            {
                "name": p.name,
                "vms": p.vms,
                "ready": p.ready,
                "coming": p.coming,
                "idle": p.idle,
                "cores": p.cores,
                "why": p.reason.text,
                "templates": {name: r.text for name, r in p.templates.items()},
                "bounds": asdict(state.bounds[p.name]) if p.name in state.bounds else None,
            }
            for p in reasons.pools
        ],
        "vms": [
            {
                "id": v.id,
                "pool": v.pool,
                "template": v.template,
                "life": v.life,
                "node": v.node,
                "host": v.host,
                "jobs": v.jobs,
                "why": v.reason.text,
            }
            for v in reasons.vms
        ],
        "shapes": [
            {"shape": str(s.shape), "nodes": s.nodes, "jobs": s.jobs, "why": s.reason.text} for s in reasons.shapes
        ],
        "actions": [{**written(a), "failed": report.failures.get(a.id)} for a in report.actions],
        "squeezed": [asdict(s) for s in state.squeezed.values()],
    }


def job(report: Report | None, number: str) -> dict[str, Any] | None:
    """Why a job waits; None when the last snapshot had none of that id."""
    found = next((j for j in report.snapshot.jobs if j.id == number), None) if report else None
    if report is None or found is None:
        return None
    reason = report.reasons.of_job(found)
    return {"id": found.id, "state": found.state, "shape": str(found.shape), "nodes": found.nodes, "why": reason.text}


def plan(snapshot: Snapshot, decision: Decision) -> str:
    """What would be done and why, for a terminal."""
    reasons = decision.reasons
    states = [j.state for j in snapshot.jobs]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("waiting", "running", "held"))
    lines = [f"jobs: {counts}; {len(snapshot.nodes)} nodes, {len(snapshot.vms)} VMs of ours"]
    lines += [f"pool {p.name}: {p.reason.text}" for p in reasons.pools]
    lines += [f"  template {name}: {r.text}" for p in reasons.pools for name, r in p.templates.items()]
    lines += [f"jobs {s.shape}: {s.jobs} wait: {s.reason.text}" for s in reasons.shapes]
    if reasons.hold:
        lines.append(f"hold: {reasons.hold.text}")
    lines += [f"would {a.id.replace(':', ' ')}: {a.why}" for a in decision.actions]
    if not decision.actions:
        lines.append("nothing would be done")
    return "\n".join(errors.one_line(line, 400) for line in lines)


def explain(snapshot: Snapshot, reasons: Reasons, kind: str, name: str) -> str | None:
    """One sentence about job, vm or node `name`; None when it is not there."""
    if kind == "job":
        jobs: list[Job] = [j for j in snapshot.jobs if j.id == name or j.id.startswith((f"{name}_", f"{name}["))]
        said = {f"job {j.id}: {reasons.of_job(j).text}": None for j in jobs[:20]}
        more = [f"... and {len(jobs) - 20} more of that array"] if len(jobs) > 20 else []
        return "\n".join(errors.one_line(s, 400) for s in (*said, *more)) or None
    for vm in reasons.vms:
        if (kind == "vm" and str(vm.id) == name) or (kind == "node" and vm.node == name):
            text = f"VM {vm.id} of pool {vm.pool} ({vm.template}) on {vm.host or 'no host'} as {vm.node}: {vm.life}: "
            return errors.one_line(text + vm.reason.text, 400)
    if kind == "node" and any(n.name == name for n in snapshot.nodes):
        return f"node {name} is none of our VMs: it is counted, used first, and never touched"
    return None


def story(records: Iterable[Record]) -> Iterator[str]:
    """Journal records as lines for a person: what was decided and why, and what became of it."""
    for record in records:
        when, kind = stamp(record["at"]), record["kind"]
        if kind == "decided":
            said = [f"{a['act'].replace(':', ' ')}: {a['why']}" for a in record["actions"]]
        elif kind == "outcome":
            word = {True: "done", False: "failed", None: "no answer"}.get(record["happened"], "?")
            said = [f"{record['act'].replace(':', ' ')}: {word}{': ' * bool(record['why'])}{record['why']}"]
        else:
            facts = {k: v for k, v in record.items() if k not in ("at", "kind", "memory", "begun")}
            said = [f"{kind} " + " ".join(f"{k}={v}" for k, v in facts.items())]
        yield from (errors.one_line(f"{when} {text}", 400) for text in said)


def lines(report: dict[str, Any]) -> str:
    """What `status` gave, for a terminal."""
    if report["looked"] is None:
        return "the service has not looked yet"
    jobs = report["jobs"]
    out = [f"looked {stamp(report['looked'])}: " + ", ".join(f"{n} jobs {state}" for state, n in jobs.items())]
    if not report["leads"]:
        out.append(f"standby: {report['standby']}")
    if report["hold"]:
        out.append(f"hold: {report['hold']}")
    out += [
        f"pool {p['name']}: {p['ready']} ready, {p['coming']} coming, {p['idle']} idle: {p['why']}"
        for p in report["pools"]
    ]
    out += [f"VM {v['id']} {v['life']} {v['node']} {v['host']} {v['jobs']} jobs: {v['why']}" for v in report["vms"]]
    out += [f"jobs {s['shape']}: {s['jobs']} wait: {s['why']}" for s in report["shapes"]]
    return "\n".join(errors.one_line(line, 400) for line in out)


def stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at > 0 else ""


def span(seconds: float) -> str:
    """CPU time as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def mib(size: int) -> str:
    return f"{size / 1024**2:,.0f} MiB"

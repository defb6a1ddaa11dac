"""`vafnebula fsck`: the nodes' volumes compared with OpenNebula's VMs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from vafnebula.admin import ask, site, views
from vafnebula.admin import fsck as comparing
from vafnebula.cli import asking


@click.command()
@asking.hosts
@click.option("--repair", is_flag=True, help="Mend what can be mended without losing anything; otherwise only look.")
@asking.as_json
def fsck(hosts: Sequence[str], repair: bool, as_json: bool) -> None:
    """Compare what is on the nodes with what OpenNebula says, and with --repair mend it.

    Only what carries vafnebula's tag is ever changed. Exit code 1 when something is left to do.
    """
    with asking.failures("fsck"):
        known = site.known(hosts)
        seen, unseen = views.of_site(known)
        found = comparing.findings(seen, known.api.vms(), known.api.vm, known.root)
    jobs = [(f.host, f.repair) for f in found if f.repair is not None]
    answers = iter(ask.everyone(jobs, known.config) if repair else [])
    left, rows = bool(unseen), []
    for finding in found:
        done = ""
        if finding.repair is not None and repair:
            answer = next(answers)
            done = f"failed: {answer.error}" if answer.error else f"mended ({answer.facts.get('result', 'removed')})"
        left = left or (finding.kind != "foreign" and not done.startswith("mended"))
        rows.append((finding, done))
    if as_json:
        asking.show_json([{**asdict(f), "repair": f.repair.verb if f.repair else "", "done": done} for f, done in rows])
    else:
        for finding, done in rows:
            todo = "--repair mends it" if finding.repair is not None else finding.advice
            said = done or todo
            click.echo(f"{finding.host}: {finding.kind}: {finding.what}: {finding.why}{f'; {said}' if said else ''}")
        click.echo(f"{len(rows)} findings on {len(seen)} nodes")
    asking.tell_unseen(unseen)
    if left:
        raise SystemExit(asking.PROBLEMS)

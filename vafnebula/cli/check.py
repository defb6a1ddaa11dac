"""`vafnebula check`: is the installation fit?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from vafnebula.admin import check as fitness
from vafnebula.admin import site
from vafnebula.cli import asking

MARKS = {fitness.OK: "ok     ", fitness.WARNING: "warning", fitness.PROBLEM: "PROBLEM"}


@click.command()
@asking.hosts
@asking.as_json
@click.option("--all", "everything", is_flag=True, help="Also show what is well.")
def check(hosts: Sequence[str], as_json: bool, everything: bool) -> None:
    """Check site file, datastores and every node; each line says what to do.

    Exit code 1 when there is a problem, 0 when there are at most warnings.
    """
    with asking.failures("check"):
        found = fitness.check(site.known(hosts))
    if as_json:
        asking.show_json([asdict(f) for f in found])
    else:
        for finding in found:
            if everything or finding.level != fitness.OK:
                advice = f"; {finding.advice}" if finding.advice else ""
                click.echo(f"{MARKS[finding.level]}  {finding.where}: {finding.what}{advice}")
        count = {level: sum(f.level == level for f in found) for level in MARKS}
        click.echo(f"{count['ok']} ok, {count['warning']} warnings, {count['problem']} problems")
    if fitness.worst(found) == fitness.PROBLEM:
        raise SystemExit(asking.PROBLEMS)

"""`vafnebula scale ...`: the scaler.  The pages' libraries are imported only by the daemon."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from vafnebula import errors
from vafnebula.scale import policy

F = TypeVar("F", bound=Callable[..., Any])


def _common(command: F) -> F:
    """The option every command has."""
    kind = click.Path(path_type=Path)
    return click.option("--policy", "path", type=kind, default=policy.PATH, show_default=True, help="Policy file.")(
        command
    )


@click.group()
def scale() -> None:
    """The scaler: the batch queue decides how many VMs there are."""


@scale.command()
@_common
@click.option("--dry-run", is_flag=True, help="Decide and show, but do nothing.")
def run(path: Path, dry_run: bool) -> None:
    """Look whenever something happens, and act, until told to stop."""
    from vafnebula.scale.service import Service

    _tried("run", lambda: Service(path, dry_run).run())


@scale.command()
@_common
@click.option("--dry-run", is_flag=True, help="Decide, but do nothing.")
def once(path: Path, dry_run: bool) -> None:
    """Look and act once."""
    from vafnebula.scale import service

    report = _tried("once", lambda: service.once(path, dry_run))
    for action in report.actions:
        failed = report.failures.get(action.id)
        click.echo(
            errors.one_line(f"{action.id.replace(':', ' ')}: {action.why}{f'; failed: {failed}' * bool(failed)}")
        )
    if report.standby or report.reasons.hold:
        click.echo(report.standby or report.reasons.hold.text)
    sys.exit(1 if report.failures else 0)


@scale.command()
@_common
def plan(path: Path) -> None:
    """Say what would be done now, and why; change nothing."""
    from vafnebula.scale import service, view

    snapshot, decision, _ = _tried("plan", lambda: service.look(path))
    click.echo(view.plan(snapshot, decision))


@scale.command()
@click.argument("kind", type=click.Choice(["job", "vm", "node"]))
@click.argument("name")
@_common
def explain(kind: str, name: str, path: Path) -> None:
    """Say why a job waits, or what is the matter with a VM or node."""
    from vafnebula.scale import service, view

    snapshot, decision, _ = _tried("explain", lambda: service.look(path))
    said = view.explain(snapshot, decision.reasons, kind, name)
    click.echo(said or f"there is no {kind} {errors.one_line(name, 60)}")
    sys.exit(0 if said else 1)


@scale.command()
@_common
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(path: Path, as_json: bool) -> None:
    """Say what the running service saw last."""
    from vafnebula.scale import view

    said = _tried("status", lambda: _asked(Path(policy.load(path).service.local), "GET", "/api/v1/status"))
    click.echo(json.dumps(said, indent=2) if as_json else view.lines(said))


@scale.command()
@click.option("-n", "count", type=click.IntRange(1), default=50, show_default=True, help="Journal records to show.")
@_common
def log(count: int, path: Path) -> None:
    """Show what was decided, why, and what became of it."""
    from vafnebula.scale import journal, view

    file = _tried("log", lambda: policy.load(path))
    for line in view.story(journal.tail(Path(file.service.state), count)):
        click.echo(line)


@scale.command()
@click.argument("pool")
@click.option("--min", "least", type=click.IntRange(0), help="VMs that exist always.")
@click.option("--max", "most", type=click.IntRange(0), help="VMs at most; the policy's own bound stays above it.")
@_common
def bounds(pool: str, least: int | None, most: int | None, path: Path) -> None:
    """Set a pool's bounds in the running service; without options, the policy's own are back."""
    body = json.dumps({"min": least, "max": most})
    file = _tried("bounds", lambda: policy.load(path))
    said = _tried(
        "bounds", lambda: _asked(Path(file.service.local), "POST", f"/api/v1/pools/{quote(pool, safe='')}", body)
    )
    click.echo(f"pool {said['pool']}: min {said['min']}, max {said['max']}")


class _Away(errors.SiteError):
    sentence = "the service does not answer at {where}: {why}; is `vafnebula scale run` running, and may you enter?"


def _asked(where: Path, verb: str, path: str, body: str | None = None) -> Any:
    """The running service's answer through its local socket.  Raises _Away, RequestError."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(where))
        connection.request(verb, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as e:
        raise _Away(where=where, why=getattr(e, "strerror", None) or e) from e
    finally:
        connection.close()
    if answer.status >= 400:
        raise errors.RequestError(why=said.get("error", answer.status))
    return said


@scale.command()
@_common
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--boot", default="25-45", show_default=True, metavar="A-B", help="Seconds from start to join.")
@click.option("--broken", default="", metavar="TEMPLATE", help="A template whose VMs never join.")
@click.option("--life", type=float, default=float("inf"), metavar="SECONDS", help="VMs die after this on average.")
@click.option("--hours", type=float, help="How long; by default until the last job could have run, and four more.")
@click.option("--seed", default=0, show_default=True, help="The same seed is the same world.")
@click.option("--svg", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw supply and demand.")
def simulate(
    trace: Path, path: Path, boot: str, broken: str, life: float, hours: float | None, seed: int, picture: Path | None
) -> None:
    """What the jobs in TRACE would wait and cost under this policy, beside thresholds as scalers of 2012 had them."""
    from vafnebula.scale import plot
    from vafnebula.scale import simulate as simulator
    from vafnebula.scale import trace as traces
    from vafnebula.scale.world import Faults

    def work() -> None:
        wanted, jobs = policy.load(path).policy(), traces.load(trace)
        faults = Faults(boot=_range(boot), broken=frozenset({broken} - {""}), life=life)
        until = hours * 3600 if hours else simulator.horizon(jobs)
        results = simulator.compare(wanted, jobs, faults, seed=seed, until=until)
        click.echo(plot.text(results))
        if picture:
            picture.write_text(plot.svg(results), encoding="utf-8")

    _tried("simulate", work)


def _range(text: str) -> tuple[float, float]:
    """`25-45` or `30`.  Raises BadArgument."""
    first, _, last = text.partition("-")
    try:
        low, high = float(first), float(last or first)
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high < 1e6:
        raise errors.BadArgument(what="boot", value=text, why="it is no range of seconds such as 25-45")
    return low, high


def _tried(what: str, act: Callable[[], Any]) -> Any:
    try:
        return act()
    except errors.Error as e:
        click.echo(errors.one_line(f"scale {what} failed: {e}"), err=True)
        sys.exit(2)

"""`vafnebula context ...`.  Exit codes: 0 fine, 1 findings, 2 wrong usage, 3 OpenNebula away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from vafnebula import errors
from vafnebula.context import apply as making
from vafnebula.context import cdrom, changes, explain, findings, importing, lint, lint_online, load, out, prove, start
from vafnebula.context.apply import Partial
from vafnebula.context.build import build, build_all
from vafnebula.context.findings import Invalid
from vafnebula.context.load import Loaded
from vafnebula.context.service import TARGETS
from vafnebula.one import api
from vafnebula.one.api import Away

FINDINGS, USAGE, AWAY = 1, 2, 3

definition = click.argument("definition", type=click.Path(path_type=Path), default=Path("cluster.yaml"))
example = click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="What OpenNebula shall substitute, as VMID=7, NIC[IP]=...",
)
release = click.option(
    "--target", type=click.Choice(TARGETS), default=TARGETS[-1], show_default=True, help="OpenNebula's release."
)
prune = click.option("--prune", is_flag=True, help="Also delete this cluster's templates of roles that are no more.")


@click.group()
def context() -> None:
    """Write a cluster once, get templates that OpenNebula accepts."""


@contextmanager
def failures(format: str = "text") -> Iterator[None]:
    """Show findings and errors, and end with their exit code."""
    try:
        yield
    except Invalid as e:
        click.echo(findings.show(e.findings, format), nl=False)
        raise SystemExit(FINDINGS) from None
    except errors.Error as e:
        click.echo(f"context: {e}", err=True)
        for change in e.rest if isinstance(e, Partial) else ():
            click.echo(f"not done: {change}", err=True)
        if isinstance(e, Away) or isinstance(e.__cause__, Away):
            raise SystemExit(AWAY) from None
        raise SystemExit(USAGE if e.blame == "request" else FINDINGS) from None


def usable(path: Path) -> Loaded:
    """The definition, or its errors and the end."""
    loaded = load.load(path)
    bad = lint.counting(lint.check(loaded), strict=False)
    if bad:
        raise Invalid(str(path), bad)
    return loaded


def role_of(loaded: Loaded, role: str) -> str:
    if role not in loaded.definition.roles:
        known = ", ".join(loaded.definition.roles)
        raise errors.BadArgument(what="role", value=role, why=f"the definition has {known}")
    return role


def pairs(given: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE words as a mapping."""
    for word in given:
        if "=" not in word:
            raise errors.BadArgument(what="--set", value=word, why="it is not NAME=VALUE")
    return dict(word.split("=", 1) for word in given)


def numbers(words: tuple[str, ...]) -> dict[str, int]:
    """ROLE=ID words as a mapping."""
    found = {}
    for word in words:
        role, _, number = word.partition("=")
        if not number.isdecimal():
            raise errors.BadArgument(what="--template-id", value=word, why="it is not ROLE=ID")
        found[role] = int(number)
    return found


def choice_of_kinds() -> click.Choice[str]:
    return click.Choice(start.kinds())


@context.command()
@click.option("--from", "kind", type=choice_of_kinds(), required=True, help="What to start from.")
@click.argument("directory", type=click.Path(path_type=Path), default=Path())
def init(kind: str, directory: Path) -> None:
    """Put a first definition and its scripts into DIRECTORY."""
    with failures():
        for path in start.init(kind, directory):
            click.echo(path)


@context.command()
@definition
@click.option("--format", type=click.Choice(findings.FORMATS), default="text", show_default=True)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--online", is_flag=True, help="Also ask OpenNebula whether what is named is there.")
def validate(definition: Path, format: str, strict: bool, online: bool) -> None:
    """Check a definition; see docs/context-lint.md for the rules."""
    with failures(format):
        loaded = load.load(definition)
        found = lint.check(loaded) + (lint_online.check(loaded, api.connect()) if online else ())
        click.echo(findings.show(found, format), nl=False)
        if lint.counting(found, strict):
            raise SystemExit(FINDINGS)


@context.command()
@definition
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Write files there.")
@click.option("--role", "roles", multiple=True, help="Only this role's template.")
@release
@click.option(
    "--template-id", "ids", multiple=True, metavar="ROLE=ID", help="Ids of registered templates, for the service."
)
def render(definition: Path, output: Path | None, roles: tuple[str, ...], target: str, ids: tuple[str, ...]) -> None:
    """Make VM templates (ROLE.one) and the OneFlow service (service.json)."""
    with failures():
        loaded = usable(definition)
        known = tuple(role_of(loaded, role) for role in roles)
        rendered = out.files(loaded, known, target, numbers(ids))
        if output is not None:
            out.write(output, {name: text.encode() for name, text in rendered.items()})
            for name in rendered:
                click.echo(output / name)
            return
        for name, text in rendered.items():
            click.echo(f"# {name}\n{text}" if len(rendered) > 1 else text, nl=len(rendered) > 1)


@context.command()
@definition
@example
def test(definition: Path, given: tuple[str, ...]) -> None:
    """Send every value to the guest's programs, and compare what arrives."""
    with failures():
        values, wrong = pairs(given), False
        for built in build_all(usable(definition)):
            for verdict in prove.prove(built, values):
                wrong = wrong or bool(verdict.wrong)
                said = verdict.skipped or ("changed: " + ", ".join(verdict.wrong) if verdict.wrong else "ok")
                click.echo(f"{verdict.role:20} {verdict.reader:12} {verdict.checked:4} values  {said}")
        if wrong:
            raise SystemExit(FINDINGS)


@context.command(name="explain")
@click.argument("path", metavar="ROLE.NAME")
@definition
def explain_(path: str, definition: Path) -> None:
    """Say where a value comes from: worker.SET_HOSTNAME, worker.MEMORY, worker.DISK.1.SIZE."""
    with failures():
        loaded = load.load(definition)
        role, _, name = path.partition(".")
        click.echo(explain.explain(build(loaded, role_of(loaded, role)), name), nl=False)


@context.command()
@click.argument("role")
@definition
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file. [default: ROLE.iso]")
@example
def iso(role: str, definition: Path, output: Path | None, given: tuple[str, ...]) -> None:
    """Make the context CD of a VM of ROLE, as its guest would get it."""
    with failures():
        loaded = usable(definition)
        target = output or Path(f"{role_of(loaded, role)}.iso")
        cdrom.write(build(loaded, role), target, pairs(given))
        click.echo(target)


@context.command(name="import")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", required=True, help="What the cluster shall be called.")
@click.option("--template", "ids", type=int, multiple=True, help="Id of a VM template; several make several roles.")
@click.option("--service", type=int, help="Id of a service template: all of its roles, with their counts.")
def import_(directory: Path, name: str, ids: tuple[int, ...], service: int | None) -> None:
    """Write a definition and scripts into DIRECTORY, from templates that are registered in OpenNebula."""
    with failures():
        site = api.connect()
        body = importing.service_body(site.services(), service) if service is not None else None
        wanted = ids or importing.template_ids(body)
        made = importing.imported([site.template(number) for number in wanted], name, body)
        start.empty(directory)
        files = {"cluster.yaml": made.text.encode(), **made.files}
        out.write(directory, files)
        for file in files:
            click.echo(directory / file)
        for note in made.notes:
            click.echo(f"note: {note}", err=True)


@context.command()
@definition
@release
@prune
def diff(definition: Path, target: str, prune: bool) -> None:
    """Show what `apply` would change in OpenNebula.  Exit code 1 when something differs."""
    with failures():
        loaded = usable(definition)
        plan = changes.plan(loaded, build_all(loaded), api.connect(), target, prune)
        tell(plan)
        if plan.effective:
            raise SystemExit(FINDINGS)


@context.command()
@definition
@release
@prune
@click.option("--yes", is_flag=True, help="Do not ask.")
def apply(definition: Path, target: str, prune: bool, yes: bool) -> None:
    """Make OpenNebula hold what the definition says: show the changes, ask, and write only what differs."""
    with failures():
        loaded = usable(definition)
        site = api.connect()
        plan = changes.plan(loaded, build_all(loaded), site, target, prune)
        tell(plan)
        if plan.effective:
            if not yes:
                click.confirm("Make these changes?", abort=True)
            making.apply(loaded, plan, site, target, click.echo)


def tell(plan: changes.Plan) -> None:
    """The changes, and the VMs that they do not reach."""
    for change in plan.changes:
        click.echo(change)
        for line in change.lines:
            click.echo(f"    {line}")
    for vm in plan.older:
        click.echo(f"VM {vm.id} {vm.name} was made from an older version of template {vm.template}, and stays as it is")

"""`vafnebula net ...`: isolation as an admin sees it.  Runs here, or with --host on a node through ssh."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vafnebula import config, errors, process
from vafnebula.node.isolation import hook, settings, tools

F = TypeVar("F", bound=Callable[..., Any])
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
REMOTE_DIR = "/var/lib/one/remotes"


def _common(command: F) -> F:
    """The options every command has."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
    return click.option("--host", help="Ask this node through ssh, instead of this machine.")(command)


@click.group()
def net() -> None:
    """Isolation of virtual clusters: what is filtered, and why."""


@net.command()
@click.argument("vm_xml", type=click.File("rb"), default="-")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(vm_xml: Any, as_json: bool) -> None:
    """Print the program that would be loaded for a VM; VM_XML is what `onevm show -x` prints."""
    _answer("plan", None, as_json, data=vm_xml.read())


@net.command()
@_common
def reconcile(host: str | None, as_json: bool) -> None:
    """Load what is missing and remove what is left over, in one transaction."""
    _answer("reconcile", host, as_json)


@net.command()
@_common
def verify(host: str | None, as_json: bool) -> None:
    """Compare what is loaded with what should be; change nothing."""
    _answer("verify", host, as_json)


@net.command()
@click.argument("tap")
@_common
def explain(tap: str, host: str | None, as_json: bool) -> None:
    """Say in words what the NIC behind TAP (one-7-0) may do."""
    _answer("explain", host, as_json, tap)


@net.command()
@click.argument("tap", default="")
@_common
def counters(tap: str, host: str | None, as_json: bool) -> None:
    """Show what every rule has caught so far."""
    _answer("counters", host, as_json, tap)


def _answer(verb: str, host: str | None, as_json: bool, tap: str = "", data: bytes = b"") -> None:
    try:
        if tap and not settings.is_name(tap):
            raise errors.BadArgument(what="tap", value=tap, why="not like one-7-0")
        value = _remote(host, verb, tap) if host else tools.answer(verb, _site(), tap, data)
    except errors.Error as e:
        click.echo(errors.one_line(f"net {verb} failed: {e}"), err=True)
        sys.exit(2)
    click.echo(json.dumps(value, indent=2) if as_json else tools.text(verb, value))
    sys.exit(tools.exit_code(verb, value))


def _site() -> settings.Settings:
    """This machine's settings: those of a node's synced site file, else of the front-end's own."""
    for root in (config.Site().remote_dir, REMOTE_DIR):
        if Path(f"{root}/{hook.SITE_FILE}").exists():
            return settings.load(f"{root}/{hook.SITE_FILE}")
    return settings.Settings()


def _remote(host: str, verb: str, tap: str) -> Any:
    program = f"{config.load().remote_dir}/vafnebula/net"
    words = [shlex.quote(w) for w in (program, verb, tap, "--json") if w]  # sshd gives them to a shell
    done = process.run([*SSH, "--", host, *words], timeout=120, check=False)
    if done.code == 255:
        raise errors.Unreachable(host=host, why=done.why)
    try:
        return json.loads(done.out)
    except ValueError as e:
        raise errors.CommandFailed(program=f"net {verb} on {host}", code=done.code, why=done.why) from e

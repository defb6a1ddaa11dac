"""`vafnebula lab ...`: hypervisor nodes on this machine, to try things and to look around."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from vafnebula import errors
from vafnebula.lab import enter, state
from vafnebula.lab.lab import Lab
from vafnebula.lab.spec import BACKENDS, MODES

NAME = click.option("--name", default="default", show_default=True, envvar="VAFNEBULA_LAB", help="Which lab.")
# what follows the node or the command belongs to it, options included
THE_REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}


class OneLine(click.Group):
    """What goes wrong reaches a person as one line."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except errors.Error as e:
            raise click.ClickException(str(e)) from e


@click.group(cls=OneLine)
def lab() -> None:
    """Hypervisor nodes on this machine, and a front-end's side to run drivers on."""


@lab.command()
@NAME
@click.option("--nodes", default=2, show_default=True, help="How many nodes.")
@click.option("--backend", type=click.Choice(BACKENDS), default="uml", show_default=True, help="Kernel of the nodes.")
@click.option("--udev", is_flag=True, help="Run the real systemd-udevd in the nodes (slower).")
@click.option("--disk", default="8G", show_default=True, help="Size of each data disk (a sparse file).")
@click.option("--mode", type=click.Choice(MODES), default="thin", show_default=True, help="For each --sds without one.")
@click.option("--sds", multiple=True, default=["100"], show_default=True, help="ID or ID:MODE of a system datastore.")
@click.option("--mem", default=512, show_default=True, help="MiB of memory per node.")
@click.option("--gluster/--no-gluster", default=True, show_default=True, help="Image datastores on GlusterFS.")
@click.option("--faults", is_flag=True, help="Let disks misbehave on demand (lab fault).")
def up(
    name: str,
    nodes: int,
    backend: str,
    udev: bool,
    disk: str,
    mode: str,
    sds: Sequence[str],
    mem: int,
    gluster: bool,
    faults: bool,
) -> None:
    """Boot a lab; it lives until `lab down`."""
    modes = {text.partition(":")[0]: text.partition(":")[2] or mode for text in sds}
    wrong = [text for text in modes if not text.isdigit()]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not a datastore id", param_hint="--sds")
    made = Lab.up(
        name,
        nodes=nodes,
        backend=backend,
        udev=udev,
        disk=disk,
        mem=mem,
        sds={int(ids): kind for ids, kind in modes.items()},
        gluster=gluster,
        faults=faults,
        progress=lambda text: click.echo(text, err=True),
    )
    made.detach()
    click.echo(f"lab {name} is up; enter a node with: vafnebula lab ssh --name {name} {made.nodes[0]}")


@lab.command(context_settings=THE_REST)
@NAME
@click.option("--user", type=click.Choice(("oneadmin", "root")), default="oneadmin", show_default=True)
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(name: str, user: str, node: str, command: Sequence[str]) -> None:
    """Run COMMAND on NODE, or a shell; ssh joins the words, as always."""
    there = Lab.attach(name)
    there.spec.index(node)
    terminal = ["-t"] if sys.stdin.isatty() and not command else []
    _become(there, ["ssh", *terminal, "-l", user, "--", node, *command], "oneadmin")


@lab.command(context_settings=THE_REST)
@NAME
@click.option("--user", type=click.Choice(("oneadmin", "root")), default="oneadmin", show_default=True)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(name: str, user: str, command: Sequence[str]) -> None:
    """Run COMMAND on the front-end, with the environment that OpenNebula gives a driver."""
    _become(Lab.attach(name), command, user)


def _become(there: Lab, command: Sequence[str], user: str) -> None:
    """Replace this process, so that streams, terminal and exit code are the command's."""
    argv = enter.argv(there.record.init, command, user=user, env={})
    os.execvp(argv[0], argv)  # noqa: S606  an argument list


@lab.command()
@NAME
@click.argument("node")
def cut(name: str, node: str) -> None:
    """Cut NODE's power."""
    Lab.attach(name).cut(node)


@lab.command()
@NAME
@click.argument("node")
def boot(name: str, node: str) -> None:
    """Give NODE power again, with the same disks, and wait until it is ready."""
    Lab.attach(name).boot(node)


@lab.command()
@NAME
@click.argument("node")
@click.argument("kind", type=click.Choice(("flaky", "delay", "error", "none")))
def fault(name: str, node: str, kind: str) -> None:
    """Make NODE's data disks misbehave; needs a lab made with --faults."""
    Lab.attach(name).fault(node, kind)


@lab.command()
@NAME
def down(name: str) -> None:
    """Take the lab away, with everything in it."""
    Lab.attach(name).down()


@lab.command()
def status() -> None:
    """List the labs that are up."""
    for name in state.names():
        there = Lab.attach(name)
        spec = there.spec
        modes = ", ".join(f"{ids} {mode}" for ids, mode in spec.sds.items())
        power = " ".join(f"{node}:{'on' if there.running(node) else 'off'}" for node in there.nodes)
        click.echo(f"{name}  {spec.backend}{' udev' * spec.udev}  {power}  system datastores: {modes}")

"""`vafnebula ...`: the command line.  No logic here: a command parses, calls, prints."""

from __future__ import annotations

from importlib import import_module

import click

from vafnebula import __version__

NAMES = ("access", "bench", "cache", "check", "context", "demo", "explain", "fsck", "lab", "net", "scale", "volumes")


class Commands(click.Group):
    """Every command is in the module of its name, which is loaded when it is used: all of them take half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NAMES:
            return None
        command: click.Command = getattr(import_module(f"vafnebula.cli.{cmd_name}"), cmd_name)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vafnebula")
def main() -> None:
    """Virtual clusters in seconds on OpenNebula."""

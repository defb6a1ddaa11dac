"""`vafnebula ...`: the command line.  No logic here: a command parses, calls, prints."""

from __future__ import annotations

import click

from vafnebula import __version__
from vafnebula.cli.access import access
from vafnebula.cli.bench import bench
from vafnebula.cli.context import context
from vafnebula.cli.demo import demo
from vafnebula.cli.lab import lab
from vafnebula.cli.net import net


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vafnebula")
def main() -> None:
    """Virtual clusters in seconds on OpenNebula."""


main.add_command(access)
main.add_command(bench)
main.add_command(context)
main.add_command(demo)
main.add_command(lab)
main.add_command(net)

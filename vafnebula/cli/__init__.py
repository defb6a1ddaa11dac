"""`vafnebula ...`: the command line.  No logic here: a command parses, calls, prints."""

from __future__ import annotations

import click

from vafnebula import __version__
from vafnebula.cli.bench import bench
from vafnebula.cli.cache import cache
from vafnebula.cli.check import check
from vafnebula.cli.context import context
from vafnebula.cli.demo import demo
from vafnebula.cli.explain import explain
from vafnebula.cli.fsck import fsck
from vafnebula.cli.lab import lab
from vafnebula.cli.net import net
from vafnebula.cli.volumes import volumes


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vafnebula")
def main() -> None:
    """Virtual clusters in seconds on OpenNebula."""


for command in (bench, cache, check, context, demo, explain, fsck, lab, net, volumes):
    main.add_command(command)

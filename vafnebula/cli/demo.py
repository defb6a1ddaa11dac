"""`vafnebula demo`."""

from __future__ import annotations

import os

import click

from vafnebula import units
from vafnebula.cli.stop import stoppable
from vafnebula.demo.play import play
from vafnebula.demo.screen import Screen
from vafnebula.demo.story import Plan
from vafnebula.lab.spec import MODES
from vafnebula.lab.spec import size as parse_size


@click.command()
@click.option("--size", default="256M", show_default=True, help="Virtual size of the system image.")
@click.option("--workers", default=16, show_default=True, type=click.IntRange(1, 64), help="VMs cloned at once.")
@click.option("--mode", type=click.Choice(MODES), default="thin", show_default=True, help="How disks are snapshots.")
@click.option("--keep", is_flag=True, help="Leave the lab up at the end, and say how to look into it.")
def demo(size: str, workers: int, mode: str, keep: bool) -> None:
    """Boot two hypervisor nodes and play a VM cluster's storage life on them."""
    with stoppable("demo"):
        plan = Plan(size=parse_size(size), workers=workers, mode=mode, keep=keep)
        if plan.size < 64 * units.MIB or plan.size % units.MIB:
            raise click.BadParameter("use whole MiB, 64M at least", param_hint="--size")
        play(Screen(), plan, name=f"demo-{os.getpid()}")

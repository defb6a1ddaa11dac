"""The demo from booting the lab to its end, for the command line."""

from __future__ import annotations

from vafnebula import units
from vafnebula.demo.screen import Screen
from vafnebula.demo.story import SDS, Plan, Story, Told
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import OpenNebula

INTRODUCTION = """\
vafnebula copies a VM image once per hypervisor; every VM disk is then an LVM snapshot of that copy.
Two hypervisor nodes boot now on this machine, with real ssh, sudo, LVM, XFS and GlusterFS, and OpenNebula's side of the
matter: its calls of the storage driver, one by one as OpenNebula makes them.  Nothing outside the lab is changed."""
READING = """\
ratio: the time beside what stands behind it, measured in this run on the same nodes.  A raw dd is what the hardware can
do, a bare `ssh node sudo lvcreate -s` what LVM and ssh can do; the driver also asks OpenNebula, locks, checks and
records.  The nodes are small and share this machine's processors: believe the ratios, not the seconds."""


def play(screen: Screen, plan: Plan, name: str | None = None) -> Told:
    """Boot a lab, play, show, and take the lab away again unless the plan says to keep it.

    Raises errors.Error; the lab is gone then.
    """
    screen.line(INTRODUCTION)
    screen.line()
    disk = max(8 * units.GIB, 24 * plan.size)
    with screen.step("Booting 2 hypervisor nodes and GlusterFS") as shown:
        lab = Lab.up(name, nodes=2, sds={SDS: plan.mode}, disk=disk, progress=shown.note)
    try:
        with OpenNebula(lab) as one:
            told = Story(lab, one, screen, plan).play()
        if plan.keep:
            lab.detach()
    except BaseException:
        lab.down()
        raise
    show(screen, told, lab.nodes[0])
    if plan.keep:
        look(screen, lab)
    else:
        with screen.step("Taking the lab away"):
            lab.down()
    return told


def show(screen: Screen, told: Told, node: str) -> None:
    screen.title("What it took")
    columns = [("what", False), ("seconds", True), ("ratio", True), ("to", False)]
    screen.table(columns, [row.cells for row in told.rows])
    screen.line(READING)
    screen.title(f"The volumes of {node} while all VMs were there: one origin, and snapshots of it")
    screen.line(told.volumes.rstrip("\n"))
    screen.title(f"The volumes of {node} now: the cached image waits for the next VM")
    screen.line(told.left.rstrip("\n"))
    screen.line()


def look(screen: Screen, lab: Lab) -> None:
    name = lab.spec.name
    screen.line("The lab stays up.  Look into it, and take it away when you are done:")
    for command in (
        f"ssh --name {name} --user root {lab.nodes[0]} lvs -o+lv_tags",
        f"ssh --name {name} {lab.nodes[-1]}",
        f"run --name {name} ls -l /var/lib/one/datastores/1",
        f"down --name {name}",
    ):
        screen.line(f"    vafnebula lab {command}")

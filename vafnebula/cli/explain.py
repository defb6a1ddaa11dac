"""`vafnebula explain VM DISK`: the story of one disk."""

from __future__ import annotations

import click

from vafnebula.admin import explain as telling
from vafnebula.admin import site, views
from vafnebula.cli import asking


@click.command()
@click.argument("vm", type=click.IntRange(0))
@click.argument("disk", type=click.IntRange(0), default=0)
@asking.as_json
def explain(vm: int, disk: int, as_json: bool) -> None:
    """Say where DISK of VM is, from which image, and how it got there."""
    with asking.failures("explain"):
        known = site.known(())
        record = known.api.vm(vm)
        if record is None:
            raise telling.NoSuchVm(vm=vm)
        if not record.host:
            raise telling.NoSuchDisk(vm=vm, disk=disk, why="it never ran")
        seen, unseen = views.of_site(known, [record.host])
        for _, error in unseen:
            raise error
        story = telling.story(seen[0], record, disk, known.root)
    if as_json:
        asking.show_json(story.as_dict())
    else:
        for line in story.lines:
            click.echo(line)

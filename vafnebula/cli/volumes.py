"""`vafnebula volumes`: every volume of every node."""

from __future__ import annotations

from collections.abc import Sequence

import click

from vafnebula import names, units
from vafnebula.admin import site, views
from vafnebula.cli import asking


@click.command()
@asking.hosts
@asking.sds
@asking.as_json
def volumes(hosts: Sequence[str], sds: int | None, as_json: bool) -> None:
    """Show every volume on the nodes: disks, origins, thin pools, and what is not ours."""
    with asking.failures("volumes"):
        seen, unseen = views.of_site(site.known(hosts))
    found = [(v, g, volume) for v in seen for g in v.groups.values() if sds in (None, g.sds) for volume in g.volumes]
    if as_json:
        asking.show_json(
            [
                {
                    "host": view.host, "vg": names.vg(group.sds), "name": v.name, "what": v.what, "size": v.size,
                    "kind": v.kind, "data_percent": v.data_percent, "origin": v.origin, "created": v.created,
                    "tags": sorted(v.tags),
                }
                for view, group, v in found
            ]
        )  # fmt: skip
    else:
        asking.show_table(
            ("host", "volume", "what", "kind", "size", "data", "made of", "image"),
            [
                (
                    view.host, f"{names.vg(group.sds)}/{v.name}", v.what, v.kind, units.human(v.size),
                    f"{v.data_percent:g} %", v.origin, v.tag("image"),
                )
                for view, group, v in found
            ],
        )  # fmt: skip
    if asking.tell_unseen(unseen):
        raise SystemExit(asking.PROBLEMS)

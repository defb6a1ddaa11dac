"""R301: what a definition names is in OpenNebula, and the user who asks may use it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from vafnebula.context.definition import Data, Image, Network
from vafnebula.context.findings import Finding, ordered
from vafnebula.context.load import Loaded
from vafnebula.context.source import Mark
from vafnebula.one.api import Api, Thing

Use = tuple[str, str, str, Mark]
"""Kind of thing, its name, its owner, and where it was written."""


def check(loaded: Loaded, site: Api) -> tuple[Finding, ...]:
    """All findings.  Raises Away, Refused."""
    there = {"network": site.usable_networks(), **_by_use(site.usable_images())}
    return ordered(f for use in _uses(loaded) for f in _missing(use, there[use[0]], site.user))


def _by_use(images: Iterable[Thing]) -> dict[str, list[Thing]]:
    every = list(images)
    files = [image for image in every if image.kind == "file"]
    return {"image": [image for image in every if image.kind == "disk"], "file image": files}


def _missing(use: Use, there: list[Thing], user: str) -> Iterator[Finding]:
    kind, name, owner, mark = use
    found = [thing for thing in there if (thing.name, thing.owner) == (name, owner)]
    if not found:
        names = [thing.name for thing in there]
        near = difflib.get_close_matches(name, names, 1)
        others = sorted(thing.owner for thing in there if thing.name == name)
        hint = f"; {others[0]} has one" if others else f"; did you mean {near[0]!r}?" if near else ""
        yield Finding("R301", mark, f"{user} can use no {kind} {name!r} of {owner}{hint}")
    elif found[0].trouble:
        yield Finding("R301", mark, f"{kind} {name!r} cannot be used: it is {found[0].trouble}")


def _uses(loaded: Loaded) -> Iterator[Use]:
    definition, place = loaded.definition, loaded.positions.value
    if definition.defaults.image:
        yield _image(definition.defaults.image, "image", place("defaults", "image"))
    for name, network in definition.network.items():
        yield _network(network, place("network", name, "vnet"))
    for name, role in definition.roles.items():
        if role.image:
            yield _image(role.image, "image", place("roles", name, "image"))
        for i, disk in enumerate(role.disks):
            if isinstance(disk, Data):
                yield _image(disk.image, "image", place("roles", name, "disks", i, "image"))
        for i, image in enumerate(role.context.file_images):
            yield _image(image, "file image", place("roles", name, "context", "file_images", i))


def _image(image: Image, kind: str, mark: Mark) -> Use:
    return kind, image.name, image.user, mark


def _network(network: Network, mark: Mark) -> Use:
    return "network", network.vnet, network.user, mark

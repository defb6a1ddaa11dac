"""The cache of the whole site: what is cached where, and what to fill."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vafnebula import errors, names
from vafnebula.admin.ask import Answer
from vafnebula.admin.views import View
from vafnebula.model import Image
from vafnebula.model_admin import Evict, Pin, Scrub, Warm
from vafnebula.one import pools

_KEY = re.compile(r"[0-9a-f]{4,20}")


class NoSuchImage(errors.RequestError):
    sentence = "image {name!r} cannot be cached: {why}; see `oneimage list`"


class NoSuchOrigin(errors.RequestError):
    sentence = "no origin matches {name!r} there; see `vafnebula cache list`"


@dataclass(frozen=True)
class Row:
    """One origin on one node; `size` and `holds` in bytes, `used` in epoch seconds, `disks` made of it."""

    host: str
    sds: int
    key: str
    image: str
    name: str
    size: int
    holds: int
    disks: int
    used: int
    pinned: bool
    complete: bool


def rows(views: Iterable[View], images: Sequence[pools.Image]) -> list[Row]:
    """All origins and fills; `images` gives their names, as far as OpenNebula knows them."""
    known = {f"{i.datastore}/{i.source.rpartition('/')[2]}": f"{i.name} ({i.id})" for i in images}
    return [
        Row(
            host=view.host,
            sds=group.sds,
            key=volume.key,
            image=volume.tag("image"),
            name=known.get(volume.tag("image"), ""),
            size=volume.size,
            holds=int(volume.tag("holds") or 0),
            disks=len(group.made_of(volume.name)),
            used=volume.used,
            pinned=names.PINNED in volume.tags,
            complete=volume.what == "origin",
        )
        for view in views
        for group in view.groups.values()
        for volume in group.volumes
        if volume.what in ("origin", "fill")
    ]


def chosen(found: Sequence[Row], wanted: Sequence[str], sds: int | None) -> list[Row]:
    """The complete origins that `wanted` names by KEY (or its first digits), image id, image name or DS/file.

    Raises NoSuchOrigin for a word that names none.
    """
    candidates = [r for r in found if r.complete and sds in (None, r.sds)]
    picked = []
    for word in wanted:
        matching = [r for r in candidates if _names(r, word)]
        if not matching:
            raise NoSuchOrigin(name=word)
        picked += [r for r in matching if r not in picked]
    return picked


def _names(row: Row, word: str) -> bool:
    name, _, rest = row.name.rpartition(" (")
    by_key = _KEY.fullmatch(word) is not None and row.key.startswith(word)
    return by_key or (word != "" and word in (row.image, name, rest.rstrip(")")))


def image(images: Sequence[pools.Image], word: str) -> pools.Image:
    """The image of that id or name.  Raises NoSuchImage."""
    found = [i for i in images if word in (str(i.id), i.name)]
    exact = [i for i in found if str(i.id) == word] or found
    if len(exact) != 1:
        why = "there is none of that id or name" if not exact else "several have that name, give the id"
        raise NoSuchImage(name=word, why=why)
    if exact[0].persistent:
        raise NoSuchImage(name=word, why="it is persistent, so it has one disk only, a full copy")
    if exact[0].state not in pools.READY or not exact[0].source:
        raise NoSuchImage(name=word, why="it is not ready")
    return exact[0]


def fills(
    hosts: Sequence[str], systems: Sequence[int], wanted: Sequence[pools.Image], root: str, size: int, pin: bool
) -> list[tuple[str, Warm]]:
    """What to ask of whom, so that every node is busy and none is asked for two things at once for long."""
    return [
        (host, Warm(sds, Image(i.datastore, path(i, root)), size, pin))
        for i in wanted
        for sds in systems
        for host in hosts
    ]


def path(found: pools.Image, root: str) -> str:
    """Where a node sees the image's file."""
    above, _, name = found.source.rpartition("/")
    return f"{root}/{found.datastore}/{name}" if above.rpartition("/")[2] == str(found.datastore) else found.source


def orders(verb: str, found: Iterable[Row], root: str) -> list[tuple[str, Any]]:
    """What to ask of the nodes for `verb` (pin, unpin, evict, verify) on these origins."""
    makers: dict[str, Callable[[Row], Any]] = {
        "pin": lambda r: Pin(r.sds, r.key, True),
        "unpin": lambda r: Pin(r.sds, r.key, False),
        "evict": lambda r: Evict(r.sds, r.key),
        "verify": lambda r: Scrub(r.sds, r.key, root),
    }
    return [(row.host, makers[verb](row)) for row in found]


def good(answer: Answer) -> bool:
    """Whether a node did what was asked, and (verify) found what should be there."""
    return answer.error is None and answer.facts.get("result") != "different"

"""What a node said of itself (node/deeds/survey.py), as records."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vafnebula import errors, names
from vafnebula.admin import ask
from vafnebula.admin.site import Known
from vafnebula.model_admin import Survey

_DISK = re.compile(r"lv-one-(?P<vm>[0-9]+)-(?P<disk>[0-9]+)(?P<rest>-.+)?")


@dataclass(frozen=True)
class Volume:
    """A volume of a node: as node/lvm.py's, and `used` (epoch seconds) and `busy` of origins and fills."""

    name: str
    size: int
    tags: frozenset[str]
    origin: str
    kind: str
    attr: str
    data_percent: float
    created: int
    used: int
    busy: bool

    @property
    def ours(self) -> bool:
        return names.OURS in self.tags

    @property
    def what(self) -> str:
        """disk, snapshot (of a disk), origin, fill, pool or foreign."""
        if self.name == names.THIN_POOL:
            return "pool"
        if not self.ours:
            return "foreign"
        if self.name.startswith(names.ORIGIN_PREFIX):
            return "origin"
        if self.name.startswith(names.FILL_PREFIX):
            return "fill"
        found = _DISK.fullmatch(self.name)
        return "foreign" if found is None else "snapshot" if found["rest"] else "disk"

    @property
    def key(self) -> str:
        """KEY of an origin or fill."""
        return self.name.removeprefix(names.ORIGIN_PREFIX).removeprefix(names.FILL_PREFIX)

    @property
    def source(self) -> str:
        """The volume it is a snapshot of: an origin, also when there were disk snapshots in between; '' for none."""
        key = self.tag("origin") if self.ours else ""
        return f"{names.ORIGIN_PREFIX}{key}" if key else self.origin

    @property
    def ending(self) -> str:
        """What follows the disk's name: `-s3`, `-b1`, `-revert`, ...; '' for a disk itself."""
        found = _DISK.fullmatch(self.name)
        return found["rest"] or "" if found else ""

    @property
    def overflowed(self) -> bool:
        return self.attr[4:5] in ("I", "S")

    def tag(self, what: str) -> str:
        return names.tag_value(self.tags, what) or ""

    @property
    def vm(self) -> int:
        return int(self.tag("vm") or -1)

    @property
    def disk(self) -> int:
        return int(self.tag("disk") or -1)


@dataclass(frozen=True)
class Group:
    """A VG of a node; sizes in bytes."""

    sds: int
    size: int
    free: int
    volumes: tuple[Volume, ...]

    def find(self, name: str) -> Volume | None:
        return next((v for v in self.volumes if v.name == name), None)

    def made_of(self, name: str) -> tuple[Volume, ...]:
        """What was made of origin `name`, also by way of disk snapshots."""
        return tuple(v for v in self.volumes if v.source == name)


@dataclass(frozen=True)
class View:
    """A node: its VGs by system datastore, and (SDS, VM, disk) -> target of the link, '' for what is none."""

    host: str
    groups: Mapping[int, Group]
    links: Mapping[tuple[int, int, int], str]


def leads_to(target: str, device: str) -> bool:
    """Whether a link is right.  After a boot it may spell the path in another way (node/deeds/activate.py)."""
    return posixpath.normpath(target) == device


def of_facts(host: str, facts: Mapping[str, Any]) -> View:
    """Read a survey's facts."""
    groups = {}
    for vg, group in facts["groups"].items():
        volumes = tuple(_volume(v) for v in group["volumes"])
        sds = names.sds_of(vg)
        groups[sds] = Group(sds, group["size"], group["free"], volumes)
    links = {}
    for place, target in facts["links"].items():
        sds, vm, disk = map(int, place.split("/"))
        links[sds, vm, disk] = target
    return View(host, groups, links)


def _volume(raw: Mapping[str, Any]) -> Volume:
    fields = ("name", "size", "origin", "kind", "attr", "data_percent", "created", "used", "busy")
    return Volume(tags=frozenset(raw["tags"]), **{f: raw[f] for f in fields})


def of_site(known: Known, hosts: Iterable[str] = ()) -> tuple[list[View], list[tuple[str, errors.Error]]]:
    """Ask the nodes; their views, and those that gave none with the reason.  Raises NoHosts, Away."""
    order = Survey(known.root)
    answers = ask.everyone([(host, order) for host in hosts or known.hosts], known.config)
    seen = [of_facts(a.host, a.facts) for a in answers if a.error is None]
    return seen, [(a.host, a.error) for a in answers if a.error is not None]

"""What an admin's commands ask of a node (vafnebula/admin)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vafnebula.model import DiskRef, Image


@dataclass(frozen=True)
class Survey:
    """Say what there is: volume groups, volumes, and the links in the VM directories below `root`."""

    verb: ClassVar[str] = "survey"
    root: str


@dataclass(frozen=True)
class Inspect:
    """Say whether the node is fit: programs, rules, settings; and whether the image files `images` are seen."""

    verb: ClassVar[str] = "inspect"
    images: list[str]


@dataclass(frozen=True)
class Warm:
    """Fill the cache with an image for disks of `size` bytes (0: the image's own), and pin it if `pin`."""

    verb: ClassVar[str] = "warm"
    sds: int
    image: Image
    size: int
    pin: bool


@dataclass(frozen=True)
class Pin:
    """Keep an origin from eviction, or let it go again."""

    verb: ClassVar[str] = "pin"
    sds: int
    key: str
    pinned: bool


@dataclass(frozen=True)
class Evict:
    """Remove an origin, if no disk is made of it and it is not pinned."""

    verb: ClassVar[str] = "evict"
    sds: int
    key: str


@dataclass(frozen=True)
class Scrub:
    """Compare an origin with its image file, which is below the datastores' root `root`."""

    verb: ClassVar[str] = "scrub"
    sds: int
    key: str
    root: str


@dataclass(frozen=True)
class Settle:
    """Finish or remove what a crashed fill left of an origin."""

    verb: ClassVar[str] = "settle"
    sds: int
    key: str


@dataclass(frozen=True)
class Relink:
    """Publish a finished disk again whose link was lost."""

    verb: ClassVar[str] = "relink"
    disk: DiskRef

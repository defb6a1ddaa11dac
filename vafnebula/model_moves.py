"""Requests and records of disks that move between hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vafnebula import errors
from vafnebula.model import decode


@dataclass(frozen=True)
class Place:
    """Where a VM's directory is: on `host`, '' for the node that is asked, and how that host's node half is started."""

    host: str
    sds: int
    directory: str
    python: str
    remote_dir: str
    connect_timeout: int


@dataclass(frozen=True)
class Move:
    """Bring a disk from `source`, or with `disk` -1 the rest of the VM's directory, and then remove the source.

    `seq` is the history record that asks for it.
    """

    verb: ClassVar[str] = "mv"
    vm: int
    disk: int
    seq: int
    sds: int
    directory: str
    source: Place


@dataclass(frozen=True)
class Offer:
    """Say what there is of a disk, or with `disk` -1 of all.  `held`: who asks holds the locks on this very node."""

    verb: ClassVar[str] = "offer"
    vm: int
    disk: int
    sds: int
    directory: str
    held: bool


@dataclass(frozen=True)
class Send:
    """Write the named volumes of a disk to stdout as a stream (wire.py), or with `disk` -1 the directory's files.

    `bases` says of each volume what the receiver starts from: '' nothing, 'origin', or a volume sent before.
    """

    verb: ClassVar[str] = "send"
    vm: int
    disk: int
    sds: int
    directory: str
    volumes: list[str]
    bases: list[str]
    held: bool


@dataclass(frozen=True)
class Receive:
    """Take a disk, or with `disk` -1 the directory's files, from the stream behind this order: from the front-end."""

    verb: ClassVar[str] = "receive"
    vm: int
    disk: int
    seq: int
    sds: int
    directory: str


@dataclass(frozen=True)
class Drop:
    """Remove the VM: its volumes, which must all be among `copied`, and its directory."""

    verb: ClassVar[str] = "drop"
    vm: int
    disk: int
    sds: int
    directory: str
    copied: list[str]
    held: bool


@dataclass(frozen=True)
class Premigrate:
    """Make volumes as `source` has them, for libvirt to copy to; `disk` is -1."""

    verb: ClassVar[str] = "premigrate"
    vm: int
    disk: int
    seq: int
    sds: int
    directory: str
    source: Place


@dataclass(frozen=True)
class Postmigrate:
    """The VM runs here now: have `source` remove what is here; `disk` is -1."""

    verb: ClassVar[str] = "postmigrate"
    vm: int
    disk: int
    seq: int
    sds: int
    directory: str
    source: Place


@dataclass(frozen=True)
class Failmigrate:
    """Remove what `premigrate` made for history record `seq`; `disk` is -1."""

    verb: ClassVar[str] = "failmigrate"
    vm: int
    disk: int
    seq: int
    sds: int
    directory: str


@dataclass(frozen=True)
class Activate:
    """After a boot: activate and link the disks of all VMs; VM directories are below `root`/<SDS>."""

    verb: ClassVar[str] = "activate"
    vm: int
    disk: int
    root: str


@dataclass(frozen=True)
class Part:
    """One volume: `size` bytes as a guest sees it, of which `used` are allocated (at most).

    `parent` is the part it derives from, '' for none.  `image` (`<DS>/<file>`) and `print` tell the cached image below
    it, '' for none, `origin` its volume on the sender.
    """

    name: str
    size: int
    used: int
    tags: list[str]
    readonly: bool
    parent: str
    image: str
    print: str
    origin: str

    @staticmethod
    def parsed(facts: object) -> list[Part]:
        """What `asdict` made of parts, after a journey.  Raises NodePackage when it is something else."""
        try:
            return [decode(Part, f) for f in (facts if isinstance(facts, list) else [facts])]
        except errors.BadArgument as e:
            raise errors.NodePackage(why="gave an answer that is not ours") from e

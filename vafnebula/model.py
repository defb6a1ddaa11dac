"""The records that travel from the front-end half to the node half and back: one JSON object each way.

A request is made once, from argv and the VM record, and only read afterwards.  Sizes are bytes, ids are ints.
Decoding is strict: unknown or missing keys and wrong types raise BadArgument, so that the two halves cannot
misunderstand each other silently.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeVar, get_type_hints

from vafnebula import errors, names

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What the admin decides, per system datastore (file and keys: config.py)."""

    mode: str = "thin"
    cow_chunk: int = 64 * 1024
    cow_percent: int = 100
    pool_limit: int = 95
    metadata_limit: int = 90
    overcommit: int = 100
    cache_min_age: int = 900
    verify: bool = False
    copy_streams: int = 1
    dead_source: str = "refuse"
    lock_wait: int = 600
    lock_dir: str = "/var/lock/one"


@dataclass(frozen=True)
class DiskRef:
    """A disk of a VM: `directory` is the VM's on the node, `seq` the history record that asks for the disk."""

    vm: int
    disk: int
    seq: int
    sds: int
    directory: str

    @property
    def vg(self) -> str:
        return names.vg(self.sds)

    @property
    def volume(self) -> str:
        return names.disk_volume(self.vm, self.disk)

    @property
    def device(self) -> str:
        return names.device(self.vg, self.volume)

    @property
    def link(self) -> str:
        return f"{self.directory}/disk.{self.disk}"


@dataclass(frozen=True)
class Image:
    """An image file: `path` is where the node sees it."""

    datastore: int
    path: str


@dataclass(frozen=True)
class Clone:
    """Make the disk a copy-on-write snapshot of the image's origin.  `size` 0 means the image's own."""

    verb: ClassVar[str] = "clone"
    disk: DiskRef
    image: Image
    size: int


@dataclass(frozen=True)
class Link:
    """Make the disk a full copy of a persistent image (`readonly` False) or a read-only view of a CD-ROM image."""

    verb: ClassVar[str] = "ln"
    disk: DiskRef
    image: Image
    size: int
    readonly: bool


@dataclass(frozen=True)
class MakeSwap:
    verb: ClassVar[str] = "mkswap"
    disk: DiskRef
    size: int
    label: str


@dataclass(frozen=True)
class MakeImage:
    """An empty disk; `filesystem` '' leaves it raw."""

    verb: ClassVar[str] = "mkimage"
    disk: DiskRef
    size: int
    filesystem: str
    label: str


@dataclass(frozen=True)
class Save:
    """Write a persistent disk back to its image and give the volume up."""

    verb: ClassVar[str] = "mvds"
    disk: DiskRef
    image: Image


@dataclass(frozen=True)
class Delete:
    """Remove one disk, or with `disk` -1 the VM's directory and every volume of the VM."""

    verb: ClassVar[str] = "delete"
    vm: int
    disk: int
    sds: int
    directory: str


@dataclass(frozen=True)
class SnapCreate:
    """Make disk snapshot `snap`.  `disk.seq` does not matter here and below."""

    verb: ClassVar[str] = "snap_create"
    disk: DiskRef
    snap: int


@dataclass(frozen=True)
class SnapDelete:
    verb: ClassVar[str] = "snap_delete"
    disk: DiskRef
    snap: int


@dataclass(frozen=True)
class SnapRevert:
    """Make the disk what disk snapshot `snap` holds."""

    verb: ClassVar[str] = "snap_revert"
    disk: DiskRef
    snap: int


@dataclass(frozen=True)
class Resize:
    """Let the disk have at least `size` bytes."""

    verb: ClassVar[str] = "resize"
    disk: DiskRef
    size: int


@dataclass(frozen=True)
class SaveAs:
    """Copy the disk, or its disk snapshot `snap` if that is not -1, into the new file of `image`."""

    verb: ClassVar[str] = "cpds"
    disk: DiskRef
    image: Image
    snap: int


@dataclass(frozen=True)
class PreBackup:
    """Make files of the VM's `disks` in directory `place`, for backup `increment` (0 is a full one).

    `keep` the snapshots for the next increment.  `record` is what vm.xml shall hold, `live` whether the VM runs.
    """

    verb: ClassVar[str] = "prebackup"
    vm: int
    disk: int
    sds: int
    directory: str
    place: str
    disks: list[int]
    increment: int
    keep: bool
    live: bool
    record: str


@dataclass(frozen=True)
class PostBackup:
    """Remove what a backup left behind; `last` is the last increment that OpenNebula has, -1 for none."""

    verb: ClassVar[str] = "postbackup"
    vm: int
    disk: int
    sds: int
    directory: str
    place: str
    disks: list[int]
    last: int
    failed: bool


@dataclass(frozen=True)
class Restore:
    """Put the images `disk.<N>` in `<directory>/.restore`, for N in `disks`, in the place of the VM's disks."""

    verb: ClassVar[str] = "restore"
    vm: int
    disk: int
    sds: int
    directory: str
    disks: list[int]


# --- disks that move between hosts


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


# --- what an admin asks for (vafnebula/admin)


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


VERBS: dict[str, type] = {
    c.verb: c
    for c in (
        *(Clone, Link, MakeSwap, MakeImage, Save, Delete),
        *(SnapCreate, SnapDelete, SnapRevert, Resize, SaveAs, PreBackup, PostBackup, Restore),
        *(Move, Offer, Send, Receive, Drop, Premigrate, Postmigrate, Failmigrate, Activate),
        *(Survey, Inspect, Warm, Pin, Evict, Scrub, Settle, Relink),
    )
}


@dataclass(frozen=True)
class Order:
    """What is sent to a node: who sends (version), what to do, and under which settings."""

    version: str
    request: Any  # one of VERBS' classes
    settings: Settings = field(default_factory=Settings)

    def to_json(self) -> bytes:
        body = {
            "version": self.version,
            "verb": self.request.verb,
            "request": asdict(self.request),
            "settings": asdict(self.settings),
        }
        return json.dumps(body).encode()

    @staticmethod
    def from_json(text: bytes, version: str) -> Order:
        """Decode.  Raises NodePackage when the sender's version is not `version`, BadArgument when malformed."""
        try:
            body = json.loads(text)
            sender, verb = body["version"], body["verb"]
        except (ValueError, KeyError, TypeError) as e:
            raise errors.BadArgument(what="request", value="JSON", why=f"malformed ({e})") from e
        if sender != version:
            raise errors.NodePackage(why=f"is version {version}, the front-end is {sender}")
        if not isinstance(verb, str) or verb not in VERBS:
            raise errors.BadArgument(what="verb", value=verb, why="unknown")
        request: Any = decode(VERBS[verb], body.get("request"))
        return Order(sender, request, decode(Settings, body.get("settings")))


@dataclass(frozen=True)
class Reply:
    """What a node answers: `error` is '' on success, else the class in errors.py and `text` its sentence.

    `facts` are figures for log and benchmark, e.g. {"cache": "hit", "seconds": 0.21, "bytes": 0}.
    """

    version: str
    error: str = ""
    text: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(text: bytes) -> Reply:
        """Decode.  Raises NodePackage when the answer is not one of ours."""
        try:
            return decode(Reply, json.loads(text))
        except (ValueError, errors.BadArgument) as e:
            raise errors.NodePackage(why="gave an answer that is not ours") from e


def decode(cls: type[T], value: object) -> T:
    """Make the record `cls` of decoded JSON.  Raises BadArgument for anything but exactly its fields and types."""
    hints = {k: t for k, t in get_type_hints(cls).items() if k in {f.name for f in fields(cls)}}  # type: ignore[arg-type]
    if not isinstance(value, dict) or set(value) != set(hints):
        raise errors.BadArgument(what="record", value=cls.__name__, why="its keys do not match")
    made = {}
    for name, kind in hints.items():
        item = value[name]
        if kind in (DiskRef, Image, Place):
            item = decode(kind, item)
        elif kind is not Any and type(item) is not _plain(kind):
            raise errors.BadArgument(what=name, value=item, why=f"not of type {_plain(kind).__name__}")
        elif _plain(kind) is list and any(type(i) is not kind.__args__[0] for i in item):
            raise errors.BadArgument(what=name, value=name, why="its elements are of another type")
        made[name] = item
    return cls(**made)


def _plain(kind: Any) -> Any:
    return getattr(kind, "__origin__", kind)

"""The records that travel from the front-end half to the node half and back: one JSON object each way.

A request is made once, from argv and the VM record, and only read afterwards.  Sizes are bytes, ids are ints.
Decoding is strict: unknown or missing keys and wrong types raise BadArgument, so that the two halves cannot
misunderstand each other silently.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib import import_module
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


# The class of every verb.  Those of other modules are loaded when one is asked for: making a record takes half a
# millisecond, and both halves of a warm clone would wait for all of them.
VERBS: dict[str, str] = {
    "clone": "model.Clone",
    "ln": "model.Link",
    "mkswap": "model.MakeSwap",
    "mkimage": "model.MakeImage",
    "mvds": "model.Save",
    "delete": "model.Delete",
    "snap_create": "model_points.SnapCreate",
    "snap_delete": "model_points.SnapDelete",
    "snap_revert": "model_points.SnapRevert",
    "resize": "model_points.Resize",
    "cpds": "model_points.SaveAs",
    "prebackup": "model_points.PreBackup",
    "postbackup": "model_points.PostBackup",
    "restore": "model_points.Restore",
    "mv": "model_moves.Move",
    "offer": "model_moves.Offer",
    "send": "model_moves.Send",
    "receive": "model_moves.Receive",
    "drop": "model_moves.Drop",
    "premigrate": "model_moves.Premigrate",
    "postmigrate": "model_moves.Postmigrate",
    "failmigrate": "model_moves.Failmigrate",
    "activate": "model_moves.Activate",
    "survey": "model_admin.Survey",
    "inspect": "model_admin.Inspect",
    "warm": "model_admin.Warm",
    "pin": "model_admin.Pin",
    "evict": "model_admin.Evict",
    "scrub": "model_admin.Scrub",
    "settle": "model_admin.Settle",
    "relink": "model_admin.Relink",
}


def request_class(verb: str) -> type:
    """The class of a verb's requests.  Raises BadArgument for an unknown verb."""
    if verb not in VERBS:
        raise errors.BadArgument(what="verb", value=verb, why="unknown")
    module, _, name = VERBS[verb].partition(".")
    found: type = getattr(import_module(f"vafnebula.{module}"), name)
    return found


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
        request: Any = decode(request_class(str(verb)), body.get("request"))
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
        if isinstance(kind, type) and is_dataclass(kind):
            item = decode(kind, item)
        elif kind is not Any and type(item) is not _plain(kind):
            raise errors.BadArgument(what=name, value=item, why=f"not of type {_plain(kind).__name__}")
        elif _plain(kind) is list and any(type(i) is not kind.__args__[0] for i in item):
            raise errors.BadArgument(what=name, value=name, why="its elements are of another type")
        made[name] = item
    return cls(**made)


def _plain(kind: Any) -> Any:
    return getattr(kind, "__origin__", kind)

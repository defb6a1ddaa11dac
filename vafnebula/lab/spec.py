"""What a lab shall be: the immutable description that everything else is made from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vafnebula import units
from vafnebula.lab.errors import BadSpec

NETWORK = "10.77.0"
FRONTEND = "frontend"
UID = GID = 9869
INSIDE = Path("/lab")  # where the lab's state directory is seen from inside
SIZES = {"K": units.KIB, "M": units.MIB, "G": units.GIB, "T": 1024 * units.GIB}
MODES = ("thin", "thick")
BACKENDS = ("uml", "qemu")


def size(text: str | int) -> int:
    """`8G`, `512M`, or a number of bytes -> bytes.  Raises BadSpec."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d+)([KMGT]?)", text.upper().removesuffix("B").removesuffix("I"))
    if not match:
        raise BadSpec(what="size", value=text, why="write a whole number with K, M, G or T")
    return int(match[1]) * SIZES.get(match[2], 1)


@dataclass(frozen=True)
class Spec:
    """A lab: `nodes` machines; `sds` maps a system datastore id to the mode of its VG, one data disk each.

    `disk` is the size of a data disk, `home` that of the disk that keeps /var/lib/one, both in bytes; `mem` is
    MiB per node; `images` are the ids of the image datastores; `faults` puts a switchable device under each PV.
    """

    name: str = "default"
    nodes: int = 2
    backend: str = "uml"
    udev: bool = False
    disk: int = 8 * units.GIB
    home: int = 4 * units.GIB
    mem: int = 512
    sds: Mapping[int, str] = field(default_factory=lambda: {100: "thin"})
    images: tuple[int, ...] = (1, 101)
    gluster: bool = True
    faults: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "sds", {int(k): str(v) for k, v in dict(self.sds).items()})
        object.__setattr__(self, "images", tuple(int(i) for i in self.images))
        self._check("name", self.name, re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", self.name), "use a-z, 0-9, - and _")
        self._check("number of nodes", self.nodes, 1 <= self.nodes <= 64, "use 1 to 64")
        self._check("backend", self.backend, self.backend in BACKENDS, f"choose {' or '.join(BACKENDS)}")
        self._check("memory", self.mem, self.mem >= 256, "a node needs 256 MiB at least")
        self._check("disk", self.disk, self.disk >= 256 * units.MIB, "a data disk needs 256M at least")
        self._check("list of datastores", self.sds, 1 <= len(self.sds) <= 4, "use 1 to 4 system datastores")
        for mode in self.sds.values():
            self._check("mode", mode, mode in MODES, f"choose {' or '.join(MODES)}")
        clash = set(self.sds) & set(self.images)
        self._check("list of datastores", self.sds, not clash, "an image datastore has the same id")

    def _check(self, what: str, value: object, good: object, why: str) -> None:
        if not good:
            raise BadSpec(what=what, value=value, why=why)

    @property
    def node_names(self) -> tuple[str, ...]:
        """`n1`, `n2`, ..."""
        return tuple(f"n{i}" for i in range(1, self.nodes + 1))

    def index(self, node: str) -> int:
        """1 for `n1`.  Raises BadSpec for a node that the lab does not have."""
        if node not in self.node_names:
            raise BadSpec(what="node", value=node, why=f"the lab {self.name} has {', '.join(self.node_names)}")
        return self.node_names.index(node) + 1

    def address(self, node: str) -> str:
        """The node's IPv4 address on the lab's bridge."""
        return f"{NETWORK}.{10 + self.index(node)}"

    def mac(self, node: str) -> str:
        """The node's MAC, locally administered."""
        return f"02:00:0a:4d:00:{10 + self.index(node):02x}"

    @property
    def hosts(self) -> str:
        """/etc/hosts of the front-end and of all nodes."""
        nodes = "".join(f"{self.address(n)} {n}\n" for n in self.node_names)
        return f"127.0.0.1 localhost\n{NETWORK}.1 {FRONTEND}\n{nodes}"

    @property
    def data_disks(self) -> dict[int, str]:
        """System datastore id -> name of its data disk's image file, in the order the disks are plugged in."""
        return {sds: f"sds-{sds}.img" for sds in self.sds}

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        values: dict[str, Any] = json.loads(text)
        return cls(**values)

"""/etc/vafnebula/join.conf: `key = value` lines that say whom the head of a cluster lets in."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from vafnebula import keyvalue

PATH = "/etc/vafnebula/join.conf"
BATCHES = ("slurm", "torque", "htcondor")
LOOKUPS = ("onegate", "api", "none")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}")
_FILE = re.compile(r"([a-z0-9._-]{1,40})=(/[A-Za-z0-9/._-]{1,200})")


@dataclass(frozen=True)
class Settings:
    """`window` seconds after it was first seen, a VM that has not joined may not join any more; `attempts` a minute
    may come from one address; `slots` and `memory` (MiB) are the most that a worker may offer.

    `give` are files for a worker that joined, name=path.  With `lookup = none` nobody is asked who has the source
    address, and the window is the expiry-time of the key in authorized_keys.
    """

    cluster: str
    batch: str
    network: str
    lookup: str = "onegate"
    role: str = "worker"
    owner: str = "oneadmin"
    prefix: str = "vaf"
    window: int = 900
    attempts: int = 20
    slots: int = 256
    memory: int = 4_194_304
    state: str = "/var/lib/vafnebula-join"
    onegate: str = "/etc/vafnebula/onegate"
    give: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("batch", BATCHES), ("lookup", LOOKUPS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}")
        for name in ("cluster", "role", "owner"):
            if not _WORD.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} must be one word")
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError("prefix must be 1 to 16 of a-z 0-9, a letter first")
        ipaddress.ip_network(self.network)
        if min(self.window, self.attempts, self.slots, self.memory) < 1:
            raise ValueError("window, attempts, slots and memory must be above 0")
        for word in self.give.split():
            if not _FILE.fullmatch(word):
                raise ValueError(f"{word!r} in give is not name=/path")

    @property
    def files(self) -> dict[str, str]:
        return dict(word.split("=", 1) for word in self.give.split())

    def inside(self, address: str) -> bool:
        """Whether `address` is one of the cluster's own network."""
        return ipaddress.ip_address(address) in ipaddress.ip_network(self.network)


def load(path: str = PATH) -> Settings:
    """The settings in `path`.  Raises Unusable."""
    return keyvalue.load(path, Settings)

"""Which NICs this node shall filter: one small file per NIC, written when its rules are loaded, gone when cleaned.

The kernel's rules are the truth about what is filtered; these files are what reconcile needs when somebody flushed
them, because neither libvirt nor a tap knows a VM's white-list.  They live in a directory that vanishes at reboot, as
taps do.  One lock: hooks share it, reconcile has it alone.
"""

from __future__ import annotations

import fcntl
import os

from vafnebula import errors
from vafnebula.node.isolation import mac
from vafnebula.node.isolation.mac import Prefix
from vafnebula.node.isolation.nics import Nic
from vafnebula.node.isolation.settings import Settings

HEADER = "vafnebula-nic 1"
LOCK = "lock"
ANY_WIDTH = 1


class Spool:
    """The directory, with its lock held (`alone` or shared) inside a `with` block.  Raises BadConfig."""

    def __init__(self, settings: Settings, *, alone: bool) -> None:
        self.directory = settings.state_dir
        self._alone = alone
        self._fd = -1

    def __enter__(self) -> Spool:
        try:
            os.makedirs(self.directory, mode=0o750, exist_ok=True)
            self._fd = os.open(self._path(LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        except OSError as e:
            why = f"[net] state_dir = {self.directory} cannot be written ({e.strerror})"
            raise errors.BadConfig(path="vafnebula.conf", why=why) from e
        fcntl.flock(self._fd, fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def put(self, nic: Nic) -> None:
        """Remember `nic`: all of it or, after a crash, what was there before."""
        path = self._path(nic.tap)
        temporary = f"{path}.{os.getpid()}~"
        try:
            with open(temporary, "w", encoding="ascii") as f:
                f.write(to_text(nic))
            os.rename(temporary, path)
        except OSError as e:
            raise errors.CommandFailed(program=f"writing {path}", code=e.errno, why=e.strerror) from e

    def forget(self, tap: str) -> None:
        try:
            os.unlink(self._path(tap))
        except FileNotFoundError:
            return

    def get(self, tap: str) -> Nic:
        """Raises FileNotFoundError, or BadArgument for a file that is not ours."""
        with open(self._path(tap), encoding="ascii", errors="replace") as f:
            return from_text(f.read(), tap)

    def age(self, tap: str, now: float) -> float:
        """Seconds since the NIC was remembered."""
        return max(0.0, now - os.stat(self._path(tap)).st_mtime)

    def taps(self) -> list[str]:
        return sorted(n for n in os.listdir(self.directory) if n.startswith("one-") and not n.endswith("~"))

    def _path(self, name: str) -> str:
        return f"{self.directory}/{name}"


def to_text(nic: Nic) -> str:
    """`nic` as lines of `name value`."""
    lines = [
        HEADER,
        f"vm {nic.vm}",
        f"nic {nic.nic}",
        f"mac {mac.text(nic.mac)}",
        f"bridge {nic.bridge}",
        f"sources {','.join(map(str, nic.sources))}",
        f"peers {','.join(map(str, nic.peers))}",
        f"ipv4 {','.join(map(mac.ipv4_text, nic.ipv4))}",
        f"ipv6 {','.join(f'{a:x}' for a in nic.ipv6)}",
        f"gateway {int(nic.gateway)}",
    ]
    return "\n".join(lines) + "\n"


def from_text(text: str, tap: str) -> Nic:
    """The inverse of to_text.  Raises BadArgument when it is not the text of the NIC of `tap`."""
    lines = text.splitlines()
    values = dict(line.partition(" ")[::2] for line in lines[1:])
    try:
        nic = Nic(
            vm=int(values["vm"]),
            nic=int(values["nic"]),
            mac=mac.parse("mac", values["mac"]),
            bridge=values["bridge"],
            sources=_prefixes(values["sources"]),
            peers=_prefixes(values["peers"]),
            ipv4=tuple(mac.parse_ipv4("ipv4", a) for a in values["ipv4"].split(",") if a),
            ipv6=tuple(int(a, 16) for a in values["ipv6"].split(",") if a),
            gateway=values["gateway"] == "1",
        )
    except (ValueError, KeyError, IndexError) as e:
        raise errors.BadArgument(what="state of", value=tap, why=f"damaged ({e})") from e
    if lines[0] != HEADER or nic.tap != tap:
        raise errors.BadArgument(what="state of", value=tap, why="of another NIC or another version")
    return nic


def _prefixes(text: str) -> tuple[Prefix, ...]:
    return tuple(mac.parse_prefix("prefix", word, ANY_WIDTH) for word in text.split(",") if word)

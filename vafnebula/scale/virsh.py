"""libvirt on a node, through ssh and virsh: CPU shares, balloon, and what a node's domains use.

Group libvirt lets oneadmin do all this without sudo.  `virsh` takes several commands in one argument, so a look at a
node is one ssh.  Domains are named one-<vm> whatever OpenNebula's deploy id is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vafnebula import errors, process

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5")
VIRSH = ("virsh", "--quiet", "--connect", "qemu:///system")
PATIENCE = 20.0
NO_QUOTA = 1 << 40
"""libvirt shows "no quota" as -1 or as a number of this order."""

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,200})")
_NUMBER = re.compile(r"^\s*([\w.]+)\s*[:=]\s*(-?\d+)\b", re.MULTILINE)
_USED = re.compile(r"^Used memory:\s*(\d+) KiB", re.MULTILINE)


@dataclass(frozen=True)
class Tuned:
    """What a running domain has: CPU shares, and KiB of memory that its balloon leaves it."""

    shares: int
    memory: int


@dataclass(frozen=True)
class Usage:
    """A domain as the monitor shows it: CPU seconds, KiB, cap in cores (0: none), shares."""

    domain: str
    cpu: float
    memory: int
    cap: float
    shares: int


class Odd(errors.HostError):
    sentence = "virsh on {host} says nothing of {what} of {domain}; is the VM still there?"


def tuned(host: str, domain: str) -> Tuned:
    """Raises Unreachable, CommandFailed or Odd."""
    said = _virsh(host, f"schedinfo {domain}; dominfo {domain}")
    numbers = dict(_NUMBER.findall(said))
    used = _USED.search(said)
    if "cpu_shares" not in numbers or used is None:
        raise Odd(host=host, what="shares or memory", domain=domain)
    return Tuned(int(numbers["cpu_shares"]), int(used[1]))


def tune(host: str, domain: str, shares: int, memory: int) -> None:
    """Give a running domain `shares`, and `memory` KiB unless 0, until it ends."""
    _virsh(host, "schedinfo", domain, "--live", "--set", f"cpu_shares={shares}")
    if memory:
        _virsh(host, "setmem", domain, str(memory), "--live")


def usage(host: str, domains: Collection[str]) -> list[Usage]:
    """What `domains` of a node use; those that have gone are left out."""
    if not domains:
        return []
    asked = "; ".join(f"dominfo {name}; schedinfo {name}" for name in sorted(domains))
    return parse_usage(_virsh(host, f"domstats --cpu-total --balloon; {asked}", check=False))


def parse_usage(said: str) -> list[Usage]:
    """Of `domstats` followed, for each domain, by its `dominfo`, which says whose it is, and its `schedinfo`."""
    parts = re.split(r"^(?:Domain: '([^']*)'|Name: +(\S+))$", said, flags=re.MULTILINE)
    stats: dict[str, dict[str, str]] = {}
    for stat, info, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        stats.setdefault(stat or info, {}).update(_NUMBER.findall(text))
    return [_usage(name, n) for name, n in stats.items() if "cpu.time" in n and "cpu_shares" in n]


def _usage(name: str, numbers: dict[str, str]) -> Usage:
    quota, period = int(numbers.get("vcpu_quota", -1)), int(numbers.get("vcpu_period", 0))
    capped = period > 0 and 0 < quota < NO_QUOTA
    return Usage(
        name,
        int(numbers["cpu.time"]) / 1e9,
        int(numbers.get("balloon.current", 0)),
        quota / period if capped else 0.0,
        int(numbers["cpu_shares"]),
    )


def _virsh(host: str, *words: str, check: bool = True) -> str:
    if not _HOST.fullmatch(host):
        raise errors.BadArgument(what="host", value=host, why="not a host name")
    command: Sequence[str] = [shlex.quote(w) for w in (*VIRSH, *words)]  # sshd gives them to a shell
    done = process.run([*SSH, "--", host, *command], timeout=PATIENCE, check=False)
    if done.code == 255:
        raise errors.Unreachable(host=host, why=done.why)
    if check and done.code:
        raise errors.CommandFailed(program=f"virsh on {host}", code=done.code, why=done.why)
    return done.out.decode(errors="replace")

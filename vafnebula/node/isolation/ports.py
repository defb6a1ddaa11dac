"""The tap and its bridge as the kernel shows them in /sys, and the port flags that close what no chain sees.

A bridge learns from frames to 01:80:c2:00:00:0e (LLDP) before any netfilter hook; `no_linklocal_learn` on the bridge
or `learning off` on the port stops that.  A locked port with static entries needs no trust in our rules at all.
"""

from __future__ import annotations

import os
import time

from vafnebula import errors, log
from vafnebula.node.isolation import mac, spawn
from vafnebula.node.isolation.mac import BITS
from vafnebula.node.isolation.nics import Nic

SYS = "/sys/class/net"
TIMEOUT = 15.0


def exists(tap: str) -> bool:
    return os.path.exists(f"{SYS}/{tap}")


def present() -> frozenset[str]:
    """The names of all taps that OpenNebula could have made."""
    try:
        return frozenset(n for n in os.listdir(SYS) if n.startswith("one-"))
    except FileNotFoundError:
        return frozenset()


def check(nic: Nic, wait: float) -> None:
    """The tap is there within `wait` seconds, on its bridge, and belongs to this MAC.  Raises NotFound, NotOurs."""
    end = time.monotonic() + wait
    while not exists(nic.tap):
        if time.monotonic() >= end:
            raise errors.NotFound(what=f"tap {nic.tap}", advice="see why the VM has no such interface: virsh domiflist")
        time.sleep(0.05)
    bridge = _bridge(nic.tap)
    if bridge != nic.bridge:
        raise errors.NotOurs(what=f"tap {nic.tap} on {bridge or 'no bridge'} instead of {nic.bridge}")
    address = _read(f"{nic.tap}/address")
    fitting = (mac.text(nic.mac), of_tap(nic.mac))
    if address not in fitting:
        raise errors.NotOurs(what=f"tap {nic.tap} with MAC {address} instead of {fitting[1]}")


def of_tap(own: int) -> str:
    """The MAC that libvirt gives the tap of a guest with MAC `own`: another first octet, so that the bridge, which
    takes the lowest MAC of its ports, keeps its own when a VM starts."""
    first = 0xFA if own >> 40 == 0xFE else 0xFE
    return mac.text(own & (1 << 40) - 1 | first << 40)


def protect(nic: Nic) -> list[str]:
    """Set the flags; what kernel or sudo does not allow is returned as notes, not raised."""
    notes = []
    if _read(f"{nic.bridge}/bridge/no_linklocal_learn") != "1":
        notes += _try(nic, [["ip", "link", "set", "dev", nic.bridge, "type", "bridge", "no_linklocal_learn", "1"]])
    if any(s.bits < BITS for s in nic.sources):
        return [*notes, f"{nic.tap} keeps learning: VAF_EXTRA_SRC_MACS has a range, which the FDB cannot hold"]
    entries = [["bridge", "fdb", "replace", mac.text(s.base), "dev", nic.tap, "master", "static"] for s in nic.sources]
    flush = ["ip", "link", "set", "dev", nic.tap, "type", "bridge_slave", "fdb_flush"]
    # flags last: a locked port without its entries would be deaf
    notes += _try(nic, [*entries, flush, ["bridge", "link", "set", "dev", nic.tap, "learning", "off", "locked", "on"]])
    return notes


def _try(nic: Nic, commands: list[list[str]]) -> list[str]:
    try:
        for argv in commands:
            spawn.run(spawn.as_root(argv), timeout=TIMEOUT)
    except (errors.CommandFailed, errors.SudoRefused) as e:
        log.trouble("net-flags", tap=nic.tap, why=str(e))
        return [f"port flags of {nic.tap} are not set: {e}"]
    return []


def _bridge(tap: str) -> str:
    try:
        return os.path.basename(os.readlink(f"{SYS}/{tap}/master"))
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with open(f"{SYS}/{path}", encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return ""

"""Which checks a NIC's frames go through, in which order: one list for both backends, without a word of their syntax.

tx is what the guest sends: checked before the bridge learns from it (prerouting), and once more on its way to the
host itself (input), because frames to 01:80:c2:00:00:0x never pass prerouting.  rx is what the bridge would hand to
the guest (forward).  A rule with verdict `drop` catches what no earlier rule let pass; `return` lets pass.
"""

from __future__ import annotations

from vafnebula.node.isolation.nics import Nic
from vafnebula.node.isolation.record import record
from vafnebula.node.isolation.settings import Settings

DROP = "drop"
RETURN = "return"

MEANING = {
    "source": "the source MAC is none of this NIC's",
    "ether-type": "neither ARP, IPv4, IPv6 nor RARP; VLAN tags, LLC/SNAP and everything else",
    "arp-mac": "ARP names a sender MAC that is none of this NIC's",
    "arp-ip": "ARP names a sender address that OpenNebula did not give to this NIC",
    "rarp-mac": "RARP names a sender MAC that is none of this NIC's",
    "router": "a router advertisement or redirect from a guest that is no gateway",
    "dhcp": "a DHCP server's answer from a guest that is no gateway",
    "dhcp6": "a DHCPv6 server's answer from a guest that is no gateway",
    "nd-size": "neighbour discovery with more than one option",
    "nd-mac": "neighbour discovery names a MAC that is none of this NIC's",
    "rs-mac": "a router solicitation names a MAC that is none of this NIC's",
    "nd-ip": "a neighbour advertisement for an address that OpenNebula did not give to this NIC",
    "group": "broadcast and multicast: reaches only NICs whose own rx lets this MAC pass",
    "onegate": "IPv4 to or from OneGate's transparent proxy",
    "peer": "the other end is in the class or white-listed",
    "not-peer": "the other end is neither in the class nor white-listed",
}


@record
class Rule:
    """One check; `name` is a key of MEANING and the label of its counter."""

    name: str
    verdict: str


@record
class Plan:
    """The checks of one NIC.  With `enforce` False every drop only counts."""

    nic: Nic
    tx: tuple[Rule, ...]
    rx: tuple[Rule, ...]
    onegate: tuple[int, ...]
    enforce: bool


def make(nic: Nic, settings: Settings) -> Plan:
    """The plan for `nic`: pure."""
    guest = not nic.gateway
    tx = (
        ("source", DROP, True),
        ("ether-type", DROP, True),
        ("arp-mac", DROP, True),
        ("arp-ip", DROP, bool(nic.ipv4)),
        ("rarp-mac", DROP, True),
        ("router", DROP, guest),
        ("dhcp", DROP, guest),
        ("dhcp6", DROP, guest),
        ("nd-size", DROP, True),
        ("nd-mac", DROP, True),
        ("rs-mac", DROP, True),
        ("nd-ip", DROP, bool(nic.ipv6)),
        ("group", RETURN, True),
        ("onegate", RETURN, bool(settings.onegate)),
        ("peer", RETURN, True),
        ("not-peer", DROP, True),
    )
    rx = (
        ("onegate", RETURN, bool(settings.onegate) and len(nic.bridge) < 15),
        ("peer", RETURN, True),
        ("not-peer", DROP, True),
    )
    return Plan(
        nic,
        tuple(Rule(name, verdict) for name, verdict, wanted in tx if wanted),
        tuple(Rule(name, verdict) for name, verdict, wanted in rx if wanted),
        settings.onegate,
        settings.mode == "enforce",
    )

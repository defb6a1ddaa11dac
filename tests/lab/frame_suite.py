"""The frame suite: what is sent, who shall hear it, what the bridge may learn and what a Linux guest may believe.

Needs nothing but the standard library and our package, so that it also runs as a program inside a lab's node:
`python3 -m tests.lab.frame_suite DIRECTORY BACKEND` prints what is wrong, as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.netns_world import (
    BROADCAST,
    EXTRA_SOURCE,
    FLOW,
    GUESTS,
    PORTS,
    World,
    arp,
    eth,
    icmp6,
    ipv4,
    ipv6,
    link_local,
    lladdr,
    snap,
    standing,
    udp,
    vm_of,
)
from vafnebula.node.isolation import ebtables

MAC = {name: p.mac for name, p in PORTS.items()}
IP = {name: p.ip for name, p in PORTS.items()}
TAG = b"frame under test"
TO_HOST = b"a frame to the host, whose address is not known yet"
V, D, S = 0x8100, 0x88A8, "snap"
IPV4, ARP, IPV6, RARP = 0x0800, 0x0806, 0x86DD, 0x8035
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
CLUSTER_A = {"a2", "a4", "gwa"}  # who hears a broadcast of a1, besides the host and what is not ours to filter
OPEN_PORTS = {"gwb", "proxy"}  # machines on the wire that no hypervisor of ours filters


@dataclass(frozen=True)
class Case:
    name: str
    sender: str
    frame: bytes
    hears: frozenset[str]
    needs: str = ""  # a check that ebtables cannot express

    @property
    def tag(self) -> bytes:
        """By what a receiver recognises the frame."""
        return FLOW if FLOW in self.frame else TAG


def case(name: str, sender: str, frame: bytes, hears: object = (), needs: str = "") -> Case:
    return Case(name, sender, frame, frozenset(hears), needs)


def packet(source: str = IP["a1"], destination: str = IP["a2"]) -> bytes:
    return ipv4(source, destination, 17, udp(1000, 2000, TAG))


def payload(kind: int) -> bytes:
    """Something valid of ether type `kind` that carries the tag."""
    if kind == IPV4:
        return packet()
    if kind == ARP:
        return arp(2, MAC["gwa"], IP["gwa"], MAC["a2"], IP["a2"]) + TAG
    if kind == IPV6:
        return ipv6(link_local(MAC["a1"]), link_local(MAC["a2"]), 17, udp(1, 2, TAG))
    return TAG


def advert(
    source_mac: str, named_mac: str, destination: str, target: str, *, extra: bytes = b"", ext: bytes = b""
) -> bytes:
    source = link_local(source_mac)
    body = struct.pack("!I", 0x60000000) + socket.inet_pton(socket.AF_INET6, target) + extra + lladdr(2, named_mac)
    return ipv6(source, destination, 58, icmp6(source, destination, 136, body), extension=ext) + TAG


def solicit(source_mac: str, named_mac: str, target: str) -> bytes:
    source = link_local(source_mac)
    body = bytes(4) + socket.inet_pton(socket.AF_INET6, target) + lladdr(1, named_mac)
    return ipv6(source, ALL_NODES, 58, icmp6(source, ALL_NODES, 135, body)) + TAG


def verdicts() -> list[Case]:
    """E5 of the research note, and more: who hears a frame when all four VMs are filtered."""
    a1, a2, b3, gwa, gwb, proxy = (MAC[n] for n in ("a1", "a2", "b3", "gwa", "gwb", "proxy"))
    everyone_a = CLUSTER_A | OPEN_PORTS
    out = [
        case("own source to a member", "a1", eth(a1, a2, IPV4, packet()), {"a2"}),
        case("extra source to a member", "a1", eth(EXTRA_SOURCE, a2, IPV4, packet()), {"a2"}),
        case("own source to the own gateway", "a1", eth(a1, gwa, IPV4, packet()), {"gwa"}),
        case("the gateway answers", "gwa", eth(gwa, a1, IPV4, packet()), {"a1"}),
        case("another's extra source", "a2", eth(EXTRA_SOURCE, a1, IPV4, packet())),
        case("to the other cluster", "a1", eth(a1, b3, IPV4, packet())),
        case("from the other cluster", "b3", eth(b3, a1, IPV4, packet())),
        case("to the other cluster's gateway", "a1", eth(a1, gwb, IPV4, packet())),
        case("from the other cluster's gateway", "gwb", eth(gwb, a1, IPV4, packet())),
        case("the other cluster's own gateway", "b3", eth(b3, gwb, IPV4, packet()), {"gwb"}),
        case("broadcast stays in the cluster", "a1", eth(a1, BROADCAST, IPV4, packet()), everyone_a | {"hv"}),
        case(
            "broadcast of the other gateway", "gwb", eth(gwb, BROADCAST, IPV4, packet()), {"b3", "gwa", "proxy", "hv"}
        ),
        case(
            "multicast stays in the cluster", "a1", eth(a1, "01:00:5e:00:00:fb", IPV4, packet()), everyone_a | {"hv?"}
        ),
        case("to the hypervisor itself", "a1", TO_HOST),
        case("a stranger on the wire", "gwb", eth("52:54:00:99:99:99", a1, IPV4, packet())),
        case("a class MAC on the wire", "gwb", eth("02:00:ac:10:01:77", a1, IPV4, packet()), {"a1"}),
        # ARP
        case(
            "ARP request, own",
            "a1",
            eth(a1, BROADCAST, ARP, arp(1, a1, IP["a1"], "00:" * 5 + "00", IP["a2"]) + TAG),
            everyone_a | {"hv"},
        ),
        case(
            "ARP probe",
            "a1",
            eth(a1, BROADCAST, ARP, arp(1, a1, "0.0.0.0", "00:" * 5 + "00", IP["a1"]) + TAG),
            everyone_a | {"hv"},
        ),
        case("ARP reply, own, unicast", "a1", eth(a1, a2, ARP, arp(2, a1, IP["a1"], a2, IP["a2"]) + TAG), {"a2"}),
        case(
            "gratuitous ARP of an extra source",
            "a1",
            eth(EXTRA_SOURCE, BROADCAST, ARP, arp(1, EXTRA_SOURCE, IP["a1"], EXTRA_SOURCE, IP["a1"]) + TAG),
            everyone_a | {"hv"},
        ),
        case("ARP names the gateway's MAC", "a1", eth(a1, a2, ARP, arp(2, gwa, IP["gwa"], a2, IP["a2"]) + TAG)),
        case("ARP names the gateway's address", "a1", eth(a1, a2, ARP, arp(2, a1, IP["gwa"], a2, IP["a2"]) + TAG)),
        case(
            "ARP request names another's MAC",
            "a1",
            eth(a1, BROADCAST, ARP, arp(1, a2, IP["a1"], "00:" * 5 + "00", IP["gwa"]) + TAG),
        ),
        case(
            "ARP from the other cluster",
            "b3",
            eth(b3, BROADCAST, ARP, arp(1, b3, IP["b3"], "00:" * 5 + "00", IP["a1"]) + TAG),
            {"gwb", "gwa", "proxy", "hv"},
        ),
        # RARP: what QEMU sends when a live migration ends
        case(
            "migration announcement",
            "a1",
            eth(a1, BROADCAST, RARP, arp(3, a1, "0.0.0.0", a1, "0.0.0.0") + TAG),
            everyone_a | {"hv"},
        ),
        case("RARP names another's MAC", "a1", eth(a1, BROADCAST, RARP, arp(3, gwa, "0.0.0.0", gwa, "0.0.0.0") + TAG)),
        # DHCP
        case(
            "DHCP discover",
            "a1",
            eth(a1, BROADCAST, IPV4, ipv4("0.0.0.0", "255.255.255.255", 17, udp(68, 67, TAG))),
            everyone_a | {"hv"},
        ),
        case("DHCP answer of a guest", "a1", eth(a1, a2, IPV4, ipv4(IP["a1"], IP["a2"], 17, udp(67, 68, TAG)))),
        case(
            "DHCP answer of the gateway VM",
            "a4",
            eth(MAC["a4"], a2, IPV4, ipv4(IP["a4"], IP["a2"], 17, udp(67, 68, TAG))),
            {"a2"},
        ),
        case(
            "DHCP answer of the gateway",
            "gwa",
            eth(gwa, a2, IPV4, ipv4(IP["gwa"], IP["a2"], 17, udp(67, 68, TAG))),
            {"a2"},
        ),
        case(
            "DHCPv6 answer of a guest",
            "a1",
            eth(a1, a2, IPV6, ipv6(link_local(a1), link_local(a2), 17, udp(547, 546, TAG))),
        ),
        # IPv6
        case("link-local unicast", "a1", eth(a1, a2, IPV6, payload(IPV6)), {"a2"}),
        case(
            "DAD solicitation",
            "a1",
            eth(
                a1,
                "33:33:ff:10:01:01",
                IPV6,
                ipv6(
                    "::",
                    "ff02::1:ff10:101",
                    58,
                    icmp6("::", "ff02::1:ff10:101", 135, bytes(4) + socket.inet_pton(socket.AF_INET6, link_local(a1))),
                ),
            ),
            everyone_a | {"hv?"},
        ),
        case(
            "DAD solicitation with nonce",
            "a1",
            eth(
                a1,
                "33:33:ff:10:01:01",
                IPV6,
                ipv6(
                    "::",
                    "ff02::1:ff10:101",
                    58,
                    icmp6(
                        "::",
                        "ff02::1:ff10:101",
                        135,
                        bytes(4) + socket.inet_pton(socket.AF_INET6, link_local(a1)) + b"\x0e\x01nonce!",
                    ),
                ),
            ),
            everyone_a | {"hv?"},
        ),
        case("ND advertisement, own", "a1", eth(a1, a2, IPV6, advert(a1, a1, link_local(a2), link_local(a1))), {"a2"}),
        case(
            "ND solicitation, own",
            "a1",
            eth(a1, ALL_NODES_MAC, IPV6, solicit(a1, a1, link_local(a2))),
            everyone_a | {"hv"},
        ),
        case(
            "ND advertisement names another's MAC",
            "a1",
            eth(a1, a2, IPV6, advert(a1, gwa, link_local(a2), link_local(gwa))),
            needs="nd-mac",
        ),
        case(
            "ND solicitation names another's MAC",
            "a1",
            eth(a1, ALL_NODES_MAC, IPV6, solicit(a1, gwa, link_local(a2))),
            needs="nd-mac",
        ),
        case(
            "ND behind an extension header",
            "a1",
            eth(a1, a2, IPV6, advert(a1, gwa, link_local(a2), link_local(gwa), ext=b"\x3a\0\x01\x04\0\0\0\0")),
            needs="nd-mac",
        ),
        case(
            "ND behind another option",
            "a1",
            eth(a1, a2, IPV6, advert(a1, gwa, link_local(a2), link_local(gwa), extra=b"\x0e\x01nonce!")),
            needs="nd-size",
        ),
        case(
            "router solicitation names another's MAC",
            "a1",
            eth(
                a1,
                "33:33:00:00:00:02",
                IPV6,
                ipv6(link_local(a1), "ff02::2", 58, icmp6(link_local(a1), "ff02::2", 133, bytes(4) + lladdr(1, gwa)))
                + TAG,
            ),
            needs="rs-mac",
        ),
        case(
            "router solicitation, own",
            "a1",
            eth(
                a1,
                "33:33:00:00:00:02",
                IPV6,
                ipv6(link_local(a1), "ff02::2", 58, icmp6(link_local(a1), "ff02::2", 133, bytes(4) + lladdr(1, a1))),
            ),
            everyone_a | {"hv?"},
        ),
        case(
            "router advertisement of a guest",
            "a1",
            eth(
                a1,
                ALL_NODES_MAC,
                IPV6,
                ipv6(link_local(a1), ALL_NODES, 58, icmp6(link_local(a1), ALL_NODES, 134, bytes(12))) + TAG,
            ),
        ),
        case(
            "the same behind an extension header",
            "a1",
            eth(
                a1,
                ALL_NODES_MAC,
                IPV6,
                ipv6(
                    link_local(a1),
                    ALL_NODES,
                    58,
                    icmp6(link_local(a1), ALL_NODES, 134, bytes(12)),
                    extension=b"\x3a\0\x01\x04\0\0\0\0",
                )
                + TAG,
            ),
        ),
        case(
            "redirect of a guest",
            "a1",
            eth(
                a1,
                a2,
                IPV6,
                ipv6(link_local(a1), link_local(a2), 58, icmp6(link_local(a1), link_local(a2), 137, bytes(36))) + TAG,
            ),
        ),
        case(
            "router advertisement of the gateway VM",
            "a4",
            eth(
                MAC["a4"],
                ALL_NODES_MAC,
                IPV6,
                ipv6(link_local(MAC["a4"]), ALL_NODES, 58, icmp6(link_local(MAC["a4"]), ALL_NODES, 134, bytes(12)))
                + TAG,
            ),
            {"a1", "a2", "gwa", "hv"} | OPEN_PORTS,
        ),
        # jumbo
        case(
            "a jumbo frame", "a1", eth(a1, a2, IPV4, ipv4(IP["a1"], IP["a2"], 17, udp(1, 2, TAG + bytes(8000)))), {"a2"}
        ),
        # OneGate
        case("to OneGate's proxy", "a1", eth(a1, proxy, IPV4, packet(destination=IP["proxy"])), {"proxy"}),
        case("OneGate's proxy answers", "proxy", eth(proxy, a1, IPV4, packet(IP["proxy"], IP["a1"])), {"a1"}),
        case("the proxy's MAC from elsewhere", "gwb", eth(proxy, a1, IPV4, packet())),
        # other ether types, own source
        *(
            case(f"ether type {kind:#06x}, own source", "a1", eth(a1, a2, kind, TAG))
            for kind in (0x0900, 0x88CC, 0x888E, 0x8863, 0x9000)
        ),
    ]
    out += [
        case(f"spoofed source, ether type {kind:#06x}, {how}", "a1", make(gwa, a2, kind, payload(kind)))
        for kind in (IPV4, ARP, IPV6, RARP, 0x0900, 0x88CC)
        for how, make in WRAPPINGS.items()
    ]
    out += [
        case(f"ARP poison, own source, {how}", "a1", make(a1, a2, ARP, payload(ARP)))
        for how, make in WRAPPINGS.items()
        if how != "untagged"
    ]
    return out


WRAPPINGS = {
    "untagged": eth,
    "VID 0": lambda s, d, k, p: eth(s, d, k, p, ((V, 0),)),
    "VID 0 twice": lambda s, d, k, p: eth(s, d, k, p, ((V, 0), (V, 0))),
    "VID 5": lambda s, d, k, p: eth(s, d, k, p, ((V, 5),)),
    "802.1ad VID 0": lambda s, d, k, p: eth(s, d, k, p, ((D, 0),)),
    "802.1ad and 802.1Q": lambda s, d, k, p: eth(s, d, k, p, ((D, 0), (V, 0))),
    "LLC/SNAP": snap,
    "LLC/SNAP with VID 0": lambda s, d, k, p: snap(s, d, k, p, ((V, 0),)),
}


@contextmanager
def opened(remotes: Path) -> Iterator[World]:
    """The world, on one CPU: the sentinel of World.heard relies on it."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        with standing(remotes, "bridge") as made:
            yield made
    finally:
        os.sched_setaffinity(0, cpus)


def protect(world: World, backend: str, *, flags: bool) -> None:
    """Filter all four VMs; with `flags`, post sets the ports' flags."""
    world.flush()
    world.settings(backend=backend, port_flags="yes" if flags else "no")
    for guest in GUESTS:
        world.hook("pre", vm_of(guest))
        if flags:
            assert world.hook("post", vm_of(guest)).stdout == b""


def wrong_verdicts(world: World, backend: str) -> list[str]:
    """Send every case; a sentence for each that was not heard by exactly those who shall hear it."""
    host = world.run("hv", "cat", "/sys/class/net/br0/address").stdout.decode().strip()
    wrong = []
    for c in verdicts():
        if c.needs in ebtables.NOT_EXPRESSIBLE and backend == "ebtables":
            continue
        frame = eth(MAC["a1"], host, IPV4, packet()) if c.frame == TO_HOST else c.frame
        hears = set(c.hears)
        got = world.heard(c.sender, frame, TAG if c.frame == TO_HOST else c.tag)
        if "hv?" in hears:  # the host's own multicast filter decides
            hears.remove("hv?")
            got.discard("hv")
        if got != hears:
            wrong.append(f"{c.name}: heard by {sorted(got)}, not by {sorted(hears)}")
    return wrong


LINK_LOCAL = {"STP": 0x00, "LACP": 0x02, "EAPOL": 0x03, "LLDP": 0x0E}


def spoofs() -> dict[str, bytes]:
    """Frames of a1 that claim the gateway's MAC, by what they are addressed to (E4)."""
    groups = {f"{name} address": f"01:80:c2:00:00:{last:02x}" for name, last in LINK_LOCAL.items()}
    out = {name: eth(MAC["gwa"], to, 0x88CC, TAG) for name, to in groups.items()}
    out["unicast"] = eth(MAC["gwa"], MAC["a2"], IPV4, packet())
    out["broadcast ARP"] = eth(MAC["gwa"], BROADCAST, ARP, arp(1, MAC["gwa"], IP["gwa"], BROADCAST, IP["a2"]))
    out["VLAN 0"] = eth(MAC["gwa"], MAC["a2"], IPV4, packet(), ((V, 0),))
    out["to the host"] = eth(MAC["gwa"], "fe:00:00:00:00:01", IPV4, packet())
    return out


def learned(world: World) -> set[str]:
    """Which spoofs move the gateway's MAC to the attacker's port."""
    moved = set()
    for name, frame in spoofs().items():
        world.heard("gwa", eth(MAC["gwa"], MAC["a2"], IPV4, packet()), TAG)
        assert world.port_of(MAC["gwa"]) == "up-a"
        world.heard("a1", frame, TAG)
        if world.port_of(MAC["gwa"]) != "up-a":
            moved.add(name)
    return moved


def believed(world: World, guest: str, address: str) -> str:
    """The MAC that the Linux guest has for `address`."""
    out = world.run(guest, "ip", "neigh", "show", address, "dev", "eth0").stdout.decode().split()
    return out[out.index("lladdr") + 1] if "lladdr" in out else ""


def talk(world: World, guest: str, address: str) -> None:
    """Make the guest resolve `address` with its own kernel."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with world.inside(guest):
        s = socket.socket(family, socket.SOCK_DGRAM)
        scope = socket.if_nametoindex("eth0") if family == socket.AF_INET6 else 0
    s.sendto(b"hello", (address, 9, 0, scope) if scope else (address, 9))
    s.close()
    world.until(lambda: believed(world, guest, address))


def poisons(style: str) -> list[bytes]:
    """Attempts of a1 to make a2 believe that the gateway is at a1, or nowhere."""
    a1, a2, gwa = MAC["a1"], MAC["a2"], MAC["gwa"]
    out = []
    if style == "ARP":
        for source, named in ((a1, a1), (gwa, a1), (a1, EXTRA_SOURCE)):
            for op in (1, 2):
                body = arp(op, named, IP["gwa"], a2, IP["a2"])
                out += [make(source, to, ARP, body) for make in WRAPPINGS.values() for to in (a2, BROADCAST)]
        return out
    target = link_local(gwa)
    for source, named in ((gwa, a1), (a1, EXTRA_SOURCE.replace("07", "08"))):
        for ext in (b"", b"\x3a\0\x01\x04\0\0\0\0"):
            body = advert(source, named, link_local(a2), target, ext=ext)
            out += [make(source, a2, IPV6, body) for make in WRAPPINGS.values()]
        body = advert(source, named, link_local(a2), target, extra=b"\x0e\x01nonce!")
        out.append(eth(source, a2, IPV6, body))
    forged = icmp6(
        target,
        link_local(a2),
        135,
        bytes(4) + socket.inet_pton(socket.AF_INET6, link_local(a2)) + lladdr(1, a1.replace("01:01", "01:66")),
    )
    out.append(eth(a1, a2, IPV6, ipv6(target, link_local(a2), 58, forged)))
    return out


def poisoned(world: World, style: str) -> bool:
    """Whether any attempt makes a2's kernel believe another MAC for the gateway."""
    address = IP["gwa"] if style == "ARP" else link_local(MAC["gwa"])
    world.run("a2", "ip", "neigh", "flush", "all")
    talk(world, "a2", address)
    fooled = False
    for frame in poisons(style):
        world.heard("a1", frame, TAG)
        fooled = fooled or believed(world, "a2", address) != MAC["gwa"]
    world.run("a2", "ip", "neigh", "flush", "all")
    return fooled


def main(directory: str, backend: str) -> None:
    with opened(Path(directory)) as world:
        protect(world, backend, flags=False)
        report = {"verdicts": wrong_verdicts(world, backend), "learned": sorted(learned(world))}
        report["poisoned"] = [s for s in ("ARP", "ND") if poisoned(world, s)]
        protect(world, backend, flags=True)
        report["learned with flags"] = sorted(learned(world))
        world.flush()
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

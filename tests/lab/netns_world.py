"""Two clusters on one bridge, made of network namespaces: real taps' stand-ins (veth), real kernel, real frames.

namespace hv: bridge br0 with ports
  one-1-0   VM 1, cluster A, 02:00:ac:10:01:01     up-a    gateway of A, 52:54:00:00:0a:fe, white-listed for A only
  one-2-0   VM 2, cluster A, 02:00:ac:10:01:02     up-b    gateway of B, 52:54:00:00:0b:fe, white-listed for B only
  one-3-0   VM 3, cluster B, 02:00:ac:10:02:03     br0b    OneGate's transparent proxy, 0a:00:00:00:00:99
  one-4-0   VM 4, cluster A, role gateway, 02:00:ac:10:01:04
each port's other end is `eth0` in a namespace of its own, with addresses, so that a Linux guest answers there
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from tests import netns

REPO = Path(__file__).parents[2]
ETH_P_ALL, SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 3, 263, 1, 1
BROADCAST = "ff:ff:ff:ff:ff:ff"
SENTINEL = b"sentinel of the frame suite"
FLOW = struct.pack("!I", 6 << 28 | 0xABCDE)  # first word of our own IPv6 packets; the bridge trims what follows them


@dataclass(frozen=True)
class Port:
    """A port of br0 and the machine behind it."""

    name: str
    dev: str
    mac: str
    ip: str


PORTS = {
    p.name: p
    for p in (
        Port("a1", "one-1-0", "02:00:ac:10:01:01", "172.16.0.1"),
        Port("a2", "one-2-0", "02:00:ac:10:01:02", "172.16.0.2"),
        Port("b3", "one-3-0", "02:00:ac:10:02:03", "172.16.0.3"),
        Port("a4", "one-4-0", "02:00:ac:10:01:04", "172.16.0.4"),
        Port("gwa", "up-a", "52:54:00:00:0a:fe", "172.16.0.10"),
        Port("gwb", "up-b", "52:54:00:00:0b:fe", "172.16.0.11"),
        Port("proxy", "br0b", "0a:00:00:00:00:99", "169.254.16.9"),
    )
}
GUESTS = ("a1", "a2", "b3", "a4")
EXTRA_SOURCE = "00:00:5e:00:01:07"  # a VRRP address that VM 1 may use


def nic_xml(port: str, **values: str) -> str:
    """TEMPLATE/NIC of the VM behind `port`; `values` replace or add attributes."""
    p = PORTS[port]
    nic = {
        "NIC_ID": "0",
        "MAC": p.mac,
        "IP": p.ip,
        "BRIDGE": "br0",
        "TARGET": p.dev,
        "VN_MAD": "bridge",
        "VAF_EXTRA_MACS": PORTS["gwb"].mac if port == "b3" else f"{PORTS['gwa'].mac},{EXTRA_SOURCE}",
        "FILTER_IP_SPOOFING": "YES",
    }
    if port == "a1":
        nic["VAF_EXTRA_SRC_MACS"] = EXTRA_SOURCE
    if port == "a4":
        nic["VAF_NIC_ROLE"] = "gateway"
    return "".join(f"<{k}>{escape(v)}</{k}>" for k, v in {**nic, **values}.items() if v)


def vm_stdin(vm: int, *nics: str, kind: str = "NIC", user: str = "") -> bytes:
    """stdin of a network driver's hook: one sibling TEMPLATE element per NIC, as OpenNebula writes them."""
    templates = "".join(f"<TEMPLATE><{kind}>{n}</{kind}></TEMPLATE>" for n in nics)
    xml = f"<VM><ID>{vm}</ID><DEPLOY_ID/><USER_TEMPLATE>{user}</USER_TEMPLATE>{templates}</VM>"
    return base64.b64encode(xml.encode()) + b"\n"


def vm_of(port: str) -> bytes:
    """stdin for the VM behind `port`."""
    return vm_stdin(int(PORTS[port].dev.split("-")[1]), nic_xml(port))


@dataclass
class World:
    """The namespaces.  `remotes` is SCRIPTS_REMOTE_DIR on the hypervisor, with the hooks as OpenNebula syncs them."""

    remotes: Path
    prefix: str = field(default_factory=lambda: f"vaf{os.getpid()}")
    sockets: dict[str, socket.socket] = field(default_factory=dict)

    def namespace(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def run(
        self, where: str, *argv: str, stdin: bytes = b"", check: bool = True, path: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in namespace `where`; `path` goes in front of PATH."""
        env = dict(os.environ, LC_ALL="C", HOME=str(self.remotes))
        env["PATH"] = f"{path}:{env['PATH']}" if path else env["PATH"]
        command = ["ip", "netns", "exec", self.namespace(where), *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, env=env, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stderr.decode()}"
        return done

    def hook(
        self, verb: str, stdin: bytes, *, driver: str = "bridge", check: bool = True, path: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        stub = self.remotes / "vnm" / driver / f"{verb}.d" / "50-vafnebula"
        argv = {"pre": [], "post": ["one-1", "node1"], "clean": ["node1"]}[verb]
        return self.run("hv", str(stub), *argv, stdin=stdin, check=check, path=path)

    def settings(self, **values: str) -> None:
        """Write [net] of the site file."""
        lines = [f"{k} = {v}" for k, v in {"state_dir": str(self.remotes / "state"), **values}.items()]
        file = self.remotes / "etc/vafnebula/vafnebula.conf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("[net]\n" + "\n".join(lines) + "\n")

    def flush(self) -> None:
        """No rule, no memory of any; the bridge knows each machine at its own port."""
        self.run("hv", "nft", "flush", "ruleset")
        shutil.rmtree(self.remotes / "state", ignore_errors=True)
        self.run("hv", "ip", "link", "set", "br0", "type", "bridge", "no_linklocal_learn", "0")
        for p in PORTS.values():
            self.run("hv", "bridge", "link", "set", "dev", p.dev, "learning", "on", "locked", "off")
            for entry in self.fdb(p.dev):
                self.run("hv", "bridge", "fdb", "del", entry["mac"], "dev", p.dev, "master", check=False)
        for p in PORTS.values():
            self.heard(p.name, eth(p.mac, BROADCAST, 0x88B6, b"here I am"), b"here I am")

    def fdb(self, dev: str) -> list[dict[str, str]]:
        out = self.run("hv", "bridge", "-j", "fdb", "show", "br", "br0", "brport", dev).stdout
        entries = json.loads(out or b"[]")
        return [e for e in entries if e.get("state") != "permanent" and e.get("ifname", dev) == dev]

    def port_of(self, mac: str) -> str:
        """At which port the bridge believes `mac` to be; '' when it does not know."""
        entries = json.loads(self.run("hv", "bridge", "-j", "fdb", "show", "br", "br0").stdout)
        where = [e["ifname"] for e in entries if e["mac"] == mac and e.get("state") != "permanent"]
        return where[0] if where else ""

    @contextlib.contextmanager
    def inside(self, name: str):
        """Sockets made in the block belong to namespace `name`."""
        with netns.inside(f"/run/netns/{self.namespace(name)}"):
            yield

    def packet_socket(self, name: str, dev: str, *, promiscuous: bool = True) -> socket.socket:
        with self.inside(name):
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        s.bind((dev, 0))
        if promiscuous:  # so that floods are seen as well
            with self.inside(name):
                number = socket.if_nametoindex(dev)
            s.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("IHH8s", number, PACKET_MR_PROMISC, 0, b""))
        s.setblocking(False)
        return s

    def open(self) -> World:
        """Make it.  Undone by `close`, also after a failure half-way."""
        for name in ("hv", *PORTS):
            subprocess.run(["ip", "netns", "add", self.namespace(name)], check=True)
        self.run("hv", "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        self.run("hv", "ip", "link", "set", "br0", "up", "mtu", "9000")
        self.run("hv", "ip", "link", "set", "lo", "up")
        for p in PORTS.values():
            tap_mac = "fe" + p.mac[2:]
            self.run(
                "hv",
                "ip",
                "link",
                "add",
                p.dev,
                "mtu",
                "9000",
                "address",
                tap_mac,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "mtu",
                "9000",
                "address",
                p.mac,
                "netns",
                self.namespace(p.name),
            )
            self.run("hv", "ip", "link", "set", p.dev, "master", "br0", "up")
            self.run(p.name, "sysctl", "-qw", "net.ipv4.neigh.eth0.locktime=0", "net.ipv6.conf.eth0.accept_ra=0")
            self.run(p.name, "ip", "addr", "add", f"{p.ip}/16", "dev", "eth0")
            self.run(p.name, "ip", "link", "set", "eth0", "up")
            self.run(p.name, "ip", "link", "set", "lo", "up")
            self.sockets[p.name] = self.packet_socket(p.name, "eth0")
        self.sockets["hv"] = self.packet_socket("hv", "br0", promiscuous=False)
        for name in PORTS:
            self._until(
                lambda n=name: b"tentative" not in self.run(n, "ip", "-6", "addr", "show", "dev", "eth0").stdout
            )
        return self

    def close(self) -> None:
        for s in self.sockets.values():
            s.close()
        for name in ("hv", *PORTS):
            subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False, capture_output=True)

    def install(self, *drivers: str) -> None:
        """The hooks of `drivers` and our package under `remotes`, laid out as OpenNebula syncs them."""
        home = self.remotes / "vafnebula"
        home.mkdir(parents=True, exist_ok=True)
        for program in ("python", "net"):
            shutil.copy(REPO / "mads/vafnebula" / program, home / program)
        (home / "vafnebula").symlink_to(REPO / "vafnebula")
        for driver in drivers:
            shutil.copytree(REPO / "hooks/vnm", self.remotes / "vnm" / driver)
        self.settings()

    @staticmethod
    def _until(condition, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "did not happen in time"
            time.sleep(0.05)

    until = _until

    def heard(self, sender: str, frame: bytes, tag: bytes) -> set[str]:
        """Send `frame`, which contains `tag`, from `sender`; the names of all machines that received it.

        A sentinel that the hypervisor itself broadcasts afterwards says when to stop waiting: this process runs on one
        CPU, so nothing that was sent before can arrive later.
        """

        def is_it(data: bytes) -> bool:  # not the ICMP error of a guest that quotes it
            return data[:12] == frame[:12] and tag in data

        for s in self.sockets.values():
            drain(s)
        self.sockets[sender].send(frame)
        self.sockets["hv"].send(eth("0e:00:00:00:00:01", BROADCAST, 0x88B5, SENTINEL))
        out = set()
        for name, s in self.sockets.items():
            if name == sender or (name == "hv"):
                continue
            if any(is_it(data) for data in _until_sentinel(s)):
                out.add(name)
        if any(is_it(data) for data in drain(self.sockets["hv"])):
            out.add("hv")
        return out


@contextlib.contextmanager
def standing(remotes: Path, *drivers: str) -> Iterator[World]:
    """A world with the hooks of `drivers`, as long as the block runs."""
    made = World(remotes)
    try:
        made.open()
        made.install(*drivers)
        yield made
    finally:
        made.close()


def drain(s: socket.socket) -> list[bytes]:
    """What is waiting, without what this socket's own machine sent (packet sockets see that as well)."""
    out = []
    while True:
        try:
            data, address = s.recvfrom(65536)
        except BlockingIOError:
            return out
        except OSError as e:  # said once after the interface was down
            if e.errno != errno.ENETDOWN:
                raise
        else:
            if address[2] != socket.PACKET_OUTGOING:
                out.append(data)


def _until_sentinel(s: socket.socket) -> list[bytes]:
    out: list[bytes] = []
    end = time.monotonic() + 60
    while not any(SENTINEL in data for data in out):
        assert time.monotonic() < end, "the sentinel did not arrive"
        out += drain(s)
    return out


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def eth(source: str, destination: str, kind: int, payload: bytes, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """An Ethernet frame; `tags` are (TPID, VID) pairs from the outside in."""
    vlans = b"".join(struct.pack("!HH", tpid, vid) for tpid, vid in tags)
    return (raw(destination) + raw(source) + vlans + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def snap(source: str, destination: str, kind: int, payload: bytes, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """The same payload in 802.3 with LLC/SNAP."""
    body = b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind) + payload
    return eth(source, destination, len(body), body, tags)


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp(op: int, sha: str, spa: str, tha: str, tpa: str) -> bytes:
    return (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, op) + raw(sha) + socket.inet_aton(spa) + raw(tha) + socket.inet_aton(tpa)
    )


def ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(payload),
        1,
        0,
        64,
        protocol,
        0,
        socket.inet_aton(source),
        socket.inet_aton(destination),
    )
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(source: int, destination: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def ipv6(
    source: str, destination: str, next_header: int, payload: bytes, hops: int = 255, extension: bytes = b""
) -> bytes:
    first = next_header if not extension else 0
    body = extension + payload
    return (
        FLOW
        + struct.pack("!HBB", len(body), first, hops)
        + socket.inet_pton(socket.AF_INET6, source)
        + socket.inet_pton(socket.AF_INET6, destination)
        + body
    )


def icmp6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    """An ICMPv6 message with its checksum."""
    head = struct.pack("!BBH", kind, 0, 0)
    pseudo = (
        socket.inet_pton(socket.AF_INET6, source)
        + socket.inet_pton(socket.AF_INET6, destination)
        + struct.pack("!II", 4 + len(body), 58)
    )
    return struct.pack("!BBH", kind, 0, checksum(pseudo + head + body)) + body


def lladdr(kind: int, mac: str) -> bytes:
    """The ND option: type 1 source, 2 target link-layer address."""
    return struct.pack("!BB", kind, 1) + raw(mac)


def link_local(mac: str) -> str:
    b = raw(mac)
    return socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + b"\0" * 6 + bytes([b[0] ^ 2]) + b[1:3] + b"\xff\xfe" + b[3:])

"""The hooks around a real libvirt domain: its guest is QEMU's network boot ROM, which asks for an address at once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.lab.libvirtd import Libvirt, libvirtd
from tests.lab.netns_world import GUESTS, PORTS, World, drain, nic_xml, raw, standing, vm_of, vm_stdin

VM, TAP = 50, "one-50-0"
# A MAC of cluster A; one with the first octet of libvirt's own taps, whose class has nobody else.  Who is in theirs.
MATES = {"02:00:ac:10:01:32": {"a1", "a2", "a4"}, "fe:00:ac:10:01:32": set()}
DISCOVER = bytes.fromhex("63825363350101")  # DHCP's magic cookie, then option 53: DHCPDISCOVER
INTERFACE = """
<interface type='bridge'>
  <source bridge='br0'/><mac address='{mac}'/><target dev='{tap}'/><model type='virtio'/><boot order='1'/>
</interface>
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with standing(tmp_path_factory.mktemp("remotes"), "bridge") as made:
        yield made


@pytest.fixture(scope="module")
def libvirt(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libvirt]:
    with libvirtd(tmp_path_factory.mktemp("libvirt"), world.namespace("hv")) as made:
        yield made


@pytest.fixture(params=["nft", "ebtables"])
def node(world: World, request: pytest.FixtureRequest) -> Iterator[World]:
    world.flush()
    world.settings(backend=request.param)
    yield world
    world.flush()


@contextlib.contextmanager
def domain(libvirt: Libvirt, mac: str) -> Iterator[None]:
    libvirt.create(f"one-{VM}", devices=INTERFACE.format(mac=mac, tap=TAP))
    try:
        yield
    finally:
        libvirt.virsh("destroy", f"one-{VM}")


def hear(world: World, mac: str, who: str) -> dict[str, list[bytes]]:
    """All frames of `mac` that each machine gets until `who` has heard its DHCPDISCOVER."""
    heard: dict[str, list[bytes]] = {name: [] for name in PORTS}

    def listen() -> None:
        for name in PORTS:
            heard[name] += [f for f in drain(world.sockets[name]) if f[6:12] == raw(mac)]

    def discovered() -> bool:
        listen()
        return any(DISCOVER in frame for frame in heard[who])

    world.until(discovered)
    listen()  # those that were asked before it came
    return heard


def test_without_rules_everybody_hears_the_guest(world: World, libvirt: Libvirt) -> None:
    world.flush()
    mac = "02:00:ac:10:01:32"
    with domain(libvirt, mac):
        assert any(hear(world, mac, "b3")["b3"])
    world.flush()


@pytest.mark.parametrize("mac", MATES)
def test_a_guest_is_filtered_from_its_first_frame_on(node: World, libvirt: Libvirt, mac: str) -> None:
    """Of the guests only its own cluster hears it ask for an address; what is no guest's port hears every broadcast."""
    for guest in GUESTS:
        node.hook("pre", vm_of(guest))
    stdin = vm_stdin(VM, nic_xml("a2", MAC=mac, TARGET=TAP, IP="172.16.0.50"))
    node.hook("pre", stdin)
    with domain(libvirt, mac):
        assert node.hook("post", stdin).stderr == b"", "the tap is where it should be, and its flags are set"
        heard = hear(node, mac, "gwa")
        assert {name for name in GUESTS if heard[name]} == MATES[mac]
        [port] = json.loads(node.run("hv", "bridge", "-d", "-j", "link", "show", "dev", TAP).stdout)
        assert (port["learning"], port["locked"]) == (False, True)
        verified = node.run("hv", str(node.remotes / "vafnebula/net"), "verify").stdout.decode()
        assert verified == "5 NICs are filtered as they should be\n"
    node.hook("clean", stdin)
    assert TAP not in node.run("hv", "nft", "list", "ruleset").stdout.decode()

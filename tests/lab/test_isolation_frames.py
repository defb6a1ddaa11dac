"""Real frames against real rules: what passes, what drops, what the bridge learns and what a Linux guest believes.

Every case runs with both backends.  Where ebtables cannot express a check the case says so, and the plan does as well.
"""

from __future__ import annotations

import io
import json
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.frame_suite import (
    IP,
    IPV4,
    MAC,
    TAG,
    TO_HOST,
    believed,
    learned,
    opened,
    packet,
    poisoned,
    protect,
    spoofs,
    talk,
    verdicts,
    wrong_verdicts,
)
from tests.lab.netns_world import EXTRA_SOURCE, GUESTS, World, eth, link_local, nic_xml, vm_of, vm_stdin
from vafnebula.lab import Lab
from vafnebula.node.isolation import ebtables

CHECKOUT = Path(__file__).parents[2]
BACKENDS = ("nft", "ebtables")
LLDP = {"LLDP address"}  # the residual that docs/isolation.md names
SUITE = (
    *("mads/vafnebula", "hooks/vnm", "vafnebula/node", "tests/lab/netns_world.py", "tests/lab/frame_suite.py"),
    *("vafnebula/__init__.py", "vafnebula/errors.py", "vafnebula/log.py", "vafnebula/values.py"),
    *("tests/__init__.py", "tests/netns.py", "tests/lab/__init__.py"),
)
IN_NODE = """
cd "$(mktemp -d)"
tar xzf -
python3 -B -m tests.lab.frame_suite "$PWD/remotes" "$1"
rm -rf "$PWD"
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("remotes")) as made:
        yield made


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def filtered(world: World, backend: str) -> Iterator[World]:
    """The world with all four VMs filtered by the backend; flags off, so that only rules are at work."""
    protect(world, backend, flags=False)
    yield world
    world.flush()


def test_every_frame_gets_its_verdict(filtered: World, backend: str) -> None:
    wrong = wrong_verdicts(filtered, backend)
    assert not wrong, "\n".join(wrong)


def test_without_rules_the_suite_would_see_it(world: World) -> None:
    """The suite has teeth: every frame that shall drop is heard by somebody when nothing is loaded."""
    world.flush()
    deaf = [
        c.name for c in verdicts() if c.frame != TO_HOST and not c.hears and not world.heard(c.sender, c.frame, c.tag)
    ]
    assert deaf == []


def test_the_bridge_learns_anything_without_rules(world: World) -> None:
    world.flush()
    assert learned(world) == set(spoofs())


def test_rules_keep_the_forwarding_table_but_for_lldp(filtered: World) -> None:
    assert learned(filtered) == LLDP


def test_with_port_flags_the_forwarding_table_is_safe(world: World, backend: str) -> None:
    protect(world, backend, flags=True)
    assert learned(world) == set()
    assert world.heard("a1", eth(EXTRA_SOURCE, MAC["a2"], IPV4, packet()), TAG) == {"a2"}
    assert world.heard("a2", eth(MAC["a2"], EXTRA_SOURCE, IPV4, packet()), TAG) == {"a1"}
    world.flush()


@pytest.mark.parametrize("style", ["ARP", "ND"])
def test_a_linux_guest_is_poisoned_without_rules_and_not_with_them(filtered: World, backend: str, style: str) -> None:
    readable = style == "ARP" or backend != "ebtables"
    assert ("nd-mac" in ebtables.NOT_EXPRESSIBLE) or readable
    assert poisoned(filtered, style) == (not readable), "ebtables cannot read ND options, as docs/isolation.md says"
    filtered.run("hv", "nft", "flush", "ruleset")
    assert poisoned(filtered, style), "the attack works where nothing is filtered"


def test_linux_guests_talk(filtered: World) -> None:
    """DAD, link-local and IPv4 with the guests' own kernels; the other cluster stays unknown."""
    filtered.run("a1", "ip", "link", "set", "eth0", "down")
    filtered.run("a1", "ip", "link", "set", "eth0", "up")
    filtered.until(lambda: b"tentative" not in filtered.run("a1", "ip", "-6", "addr", "show", "dev", "eth0").stdout)
    assert b"dadfailed" not in filtered.run("a1", "ip", "-6", "addr", "show", "dev", "eth0").stdout
    for address in (link_local(MAC["a2"]), IP["a2"], IP["gwa"]):
        talk(filtered, "a1", address)
    with filtered.inside("a1"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"hello", (IP["b3"], 9))
    s.close()
    time.sleep(0.1)
    assert believed(filtered, "a1", IP["b3"]) == ""


def test_observe_counts_and_lets_pass(world: World) -> None:
    for backend in ("nft", "ebtables"):
        world.flush()
        world.settings(backend=backend, mode="observe")
        for guest in GUESTS:
            world.hook("pre", vm_of(guest))
            assert world.hook("post", vm_of(guest)).stdout == b""
        spoofed = eth(MAC["gwa"], MAC["a2"], IPV4, packet())
        assert "a2" in world.heard("a1", spoofed, TAG)
        listing = world.run("hv", "nft", "list", "ruleset").stdout.decode()
        assert any("packets 1 " in line for line in listing.splitlines()), listing
        assert " drop" not in listing
    world.flush()


def test_a_white_list_can_be_a_prefix(world: World) -> None:
    world.flush()
    world.settings()
    nic = nic_xml("a2", VAF_EXTRA_MACS="52:54:00:00:00:00/24", VAF_EXTRA_SRC_MACS="00:00:5e:00:01:00/ff:ff:ff:ff:ff:00")
    world.hook("pre", vm_stdin(2, nic))
    assert world.heard("gwb", eth(MAC["gwb"], MAC["a2"], IPV4, packet()), TAG) == {"a2"}
    for last, hears in (("01:20", {"gwb"}), ("02:20", set())):
        source = f"00:00:5e:00:{last}"
        assert world.heard("a2", eth(source, MAC["gwb"], IPV4, packet()), TAG) == hears
    notes = world.hook("post", vm_stdin(2, nic)).stdout.decode()
    assert "keeps learning" in notes
    world.flush()


@pytest.mark.parametrize("kind", BACKENDS)
def test_the_suite_in_a_lab_node(lab: Lab, kind: str) -> None:
    """The same frames under the node's own kernel, nft and ebtables."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in SUITE:
            tar.add(CHECKOUT / name, name, filter=lambda i: None if "__pycache__" in i.name else i)
    done = lab.ssh("n1", ["sh", "-euc", IN_NODE, "sh", kind], user="root", input=packed.getvalue(), timeout=300)
    poison = ["ND"] if kind == "ebtables" else []
    expected = {"verdicts": [], "learned": sorted(LLDP), "poisoned": poison, "learned with flags": []}
    assert json.loads(done.out) == expected

"""The hooks as OpenNebula runs them, against real rules: repeated, in parallel, interrupted, flushed, replayed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.netns_world import GUESTS, PORTS, World, nic_xml, standing, vm_of, vm_stdin
from vafnebula.node.isolation import vmxml
from vafnebula.node.isolation.vmxml import VmXml

DATA = Path(__file__).parents[1] / "data/vnm"
NOTHING = ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with standing(tmp_path_factory.mktemp("remotes"), "bridge", "fw", "trace", "trace2") as made:
        yield made


@pytest.fixture(params=["nft", "ebtables"])
def node(world: World, request: pytest.FixtureRequest):
    """An empty node with the backend configured."""
    world.flush()
    world.settings(backend=request.param)
    yield world
    world.flush()


@pytest.fixture
def nft_node(world: World):
    world.flush()
    world.settings()
    yield world
    world.flush()


def rules(world: World) -> str:
    """All rules of ours, without their counters; '' when there is nothing."""
    listing = world.run("hv", "nft", "list", "ruleset").stdout.decode()
    listing = re.sub(r"counter packets \d+ bytes \d+", "counter", listing)
    kept = [line for line in listing.splitlines() if not line.startswith("#")]
    return "\n".join(kept) if re.search(r"one-\d|vaf-", listing) else NOTHING


def net(world: World, *argv: str, check: bool = True) -> str:
    """The node's own `net` command."""
    return world.run("hv", str(world.remotes / "vafnebula/net"), *argv, check=check).stdout.decode()


def remembered(world: World) -> set[str]:
    return {p.name for p in (world.remotes / "state").glob("one-*")}


def test_pre_twice_and_clean_twice(node: World) -> None:
    for guest in GUESTS:
        node.hook("pre", vm_of(guest))
    once = rules(node)
    assert "one-1-0" in once
    for guest in GUESTS:
        assert node.hook("pre", vm_of(guest)).stderr == b""
    assert rules(node) == once
    assert net(node, "verify").startswith("4 NICs")
    for guest in GUESTS * 2:
        assert node.hook("clean", vm_of(guest)).stderr == b""
    assert rules(node) == NOTHING
    assert remembered(node) == set()


def test_clean_takes_only_its_own(node: World) -> None:
    """one-1-1 is not one-1-10, nor one-11-1."""
    for vm in (1, 11):
        nics = [nic_xml("a1", NIC_ID=str(n), TARGET=f"one-{vm}-{n}") for n in (1, 10)]
        node.hook("pre", vm_stdin(vm, *nics))
    node.hook("clean", vm_stdin(1, nic_xml("a1", NIC_ID="1", TARGET="one-1-1")))
    left = set(re.findall(r"one-\d+-\d+", rules(node)))
    assert left == remembered(node) == {"one-1-10", "one-11-1", "one-11-10"}


def test_forty_machines_at_once(node: World) -> None:
    stdin = [
        vm_stdin(v, *(nic_xml("a1", NIC_ID=str(n), TARGET=f"one-{v}-{n}") for n in (0, 1))) for v in range(100, 140)
    ]
    with ThreadPoolExecutor(40) as pool:
        assert all(d.stderr == b"" for d in pool.map(lambda s: node.hook("pre", s), stdin))
    assert "\n80 NICs are filtered" in net(node, "verify", check=False) and len(remembered(node)) == 80
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda s: node.hook("clean", s), stdin))
    assert rules(node) == NOTHING


def test_reconcile_restores_what_was_flushed(node: World) -> None:
    for guest in GUESTS:
        node.hook("pre", vm_of(guest))
    before = rules(node)
    node.run("hv", "nft", "flush", "ruleset")
    assert "one-1-0: its filter is missing" in net(node, "verify", check=False)
    assert net(node, "reconcile").startswith("loaded: one-1-0 one-2-0 one-3-0 one-4-0\n")
    assert sorted(rules(node).split()) == sorted(before.split())
    assert net(node, "reconcile") == net(node, "verify") == "4 NICs are filtered as they should be\n"


def test_reconcile_removes_orphans_and_keeps_the_rest(node: World) -> None:
    node.hook("pre", vm_of("a1"))
    node.hook("pre", vm_stdin(77, nic_xml("a1", TARGET="one-77-0")))
    (node.remotes / "state/one-77-0").unlink()
    told = net(node, "reconcile").splitlines()
    assert told[0] == "removed: one-77-0" and told[-1] == "1 NICs are filtered as they should be"
    node.hook("clean", vm_of("a1"))
    node.hook("pre", vm_stdin(78, nic_xml("a1", TARGET="one-78-0")))
    assert "one-78-0" in rules(node), "between pre and its tap a NIC is no orphan"
    assert "one-78-0" not in net(node, "reconcile")
    node.run("hv", "touch", "-d", "2 hours ago", str(node.remotes / "state/one-78-0"))
    net(node, "reconcile")
    assert rules(node) == NOTHING
    assert remembered(node) == set()


def test_a_change_of_backend_leaves_nothing_of_the_other(world: World) -> None:
    world.flush()
    for backend, other in (("nft", "vaf-"), ("ebtables", "bridge vafnebula"), ("nft", "vaf-")):
        world.settings(backend=backend)
        world.hook("pre", vm_of("a1"))
        net(world, "reconcile")
        assert "one-1-0" in rules(world) and other not in rules(world)
        assert net(world, "verify", check=False).endswith("\n1 NICs are filtered as they should be\n")
    world.flush()


def which(program: str) -> str:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or program


def failing(world: World, program: str, at: int, signal: str = "") -> str:
    """A directory whose `program` fails at its `at`-th call (or dies of `signal`), and else is the real one."""
    directory = world.remotes / "failing"
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    die = f"kill -{signal} $$" if signal else "echo injected >&2; exit 9"
    script = directory / program
    if program == "nft":  # pre starts both at once: the first is the check, the second loads
        now = f"[ {at} = $(case $1 in -c) echo 1 ;; -f) echo 2 ;; esac) ]"
    else:
        now = f"echo >>{directory}/count; [ $(wc -l <{directory}/count) = {at} ]"
    script.write_text(f'#!/bin/sh\n{now} && {{ {die}; }}\nexec {which(program)} "$@"\n')
    script.chmod(0o755)
    return str(directory)


PROGRAMS = {"nft": [("nft", 2)], "ebtables": [("ebtables-nft-save", 1), ("ebtables-nft-restore", 1)]}


def test_a_command_that_fails_leaves_the_old_rules(node: World) -> None:
    """Each command of each hook, failing or killed: the rules are those before, and a second try succeeds."""
    backend = "ebtables" if "ebtables" in (node.remotes / "etc/vafnebula/vafnebula.conf").read_text() else "nft"
    changed = vm_stdin(
        1, nic_xml("a1", VAF_EXTRA_MACS="52:54:00:77:77:77"), nic_xml("a2", NIC_ID="1", TARGET="one-1-1")
    )
    for verb, stdin in (("pre", changed), ("clean", vm_of("a1"))):
        for program, calls in PROGRAMS[backend]:
            for at in range(1, calls + 1):
                for signal in ("", "KILL"):
                    node.hook("pre", vm_of("a1"))
                    old, known = rules(node), remembered(node)
                    done = node.hook(verb, stdin, check=False, path=failing(node, program, at, signal))
                    said = done.stderr.decode()
                    assert done.returncode == (1 if verb == "pre" else 0)
                    assert said.startswith(f"isolation {verb} failed: {program} failed with exit code")
                    assert said.count("\n") == 1 and len(said) <= 251
                    assert rules(node) == old and remembered(node) == known
        node.hook(verb, stdin)
        assert ("52:54:00:77:77:77" in rules(node)) == (verb == "pre")
        node.hook("clean", changed)


def test_half_a_restore_is_put_back(node: World) -> None:
    """ebtables has a transaction per table: when nat fails after filter was changed, filter is put back."""
    if "ebtables" not in (node.remotes / "etc/vafnebula/vafnebula.conf").read_text():
        return  # nft has one transaction for all
    node.hook("pre", vm_of("a1"))
    old = rules(node)
    directory = node.remotes / "spoiling"
    directory.mkdir()
    script = directory / "ebtables-nft-restore"
    spoil = "sed '/^.nat$/a -A nowhere -j DROP'"
    once = f"[ -e {directory}/done ] || {{ touch {directory}/done; {spoil} | {which(script.name)} --noflush; exit; }}"
    script.write_text(f'#!/bin/sh\n{once}\nexec {which(script.name)} "$@"\n')
    script.chmod(0o755)
    done = node.hook("pre", vm_of("b3"), check=False, path=str(directory))
    assert done.returncode == 1 and b"No chain/target" in done.stderr
    assert rules(node) == old


def test_a_change_in_the_middle_leaves_no_half(nft_node: World) -> None:
    """A line that the kernel refuses rolls back the whole program: all NICs of a VM or none."""
    nft_node.hook("pre", vm_of("a2"))
    nft_node.run("hv", "nft", "add", "element", "bridge", "vafnebula", "vm_rx", '{ "one-9-1" : drop }')
    before = rules(nft_node)
    nics = [nic_xml("a1", NIC_ID=str(n), TARGET=f"one-9-{n}") for n in (0, 1, 2)]
    done = nft_node.hook("pre", vm_stdin(9, *nics), check=False)
    assert done.returncode == 1 and b"File exists" in done.stderr
    assert rules(nft_node) == before


def test_attach_and_detach_touch_one_nic(node: World) -> None:
    first, second = nic_xml("a1"), nic_xml("a2", NIC_ID="1", TARGET="one-1-1")
    attached = nic_xml("a2", NIC_ID="1", TARGET="one-1-1", ATTACH="YES")
    node.hook("pre", vm_stdin(1, first))
    broken = nic_xml("a1", MAC="nonsense")
    node.hook("pre", vm_stdin(1, broken, attached))
    assert remembered(node) == {"one-1-0", "one-1-1"}
    node.hook("clean", vm_stdin(1, first, attached))
    assert remembered(node) == {"one-1-0"} and "one-1-1" not in rules(node)
    node.hook("clean", vm_stdin(1, first, second))
    assert rules(node) == NOTHING


def test_an_alias_adds_its_address_to_its_parent(nft_node: World) -> None:
    alias = (
        "<NIC_ID>5</NIC_ID><PARENT_ID>0</PARENT_ID><IP>172.16.9.9</IP><VN_MAD>fw</VN_MAD>{}<MAC>02:00:ac:10:09:09</MAC>"
    )
    nic = f"<TEMPLATE><NIC>{nic_xml('a1')}</NIC></TEMPLATE>"

    def vm(more: str) -> bytes:
        return f"<VM><ID>1</ID>{nic}<TEMPLATE><NIC_ALIAS>{alias.format(more)}</NIC_ALIAS></TEMPLATE></VM>".encode()

    nft_node.hook("pre", vm(""))
    assert "172.16.9.9" in rules(nft_node)
    nft_node.hook("clean", vm("<ATTACH>YES</ATTACH>"))
    assert "172.16.9.9" not in rules(nft_node) and "one-1-0" in rules(nft_node)
    nft_node.hook("pre", vm("<ATTACH>YES</ATTACH>"))
    assert "172.16.9.9" in rules(nft_node)


def test_each_driver_loads_its_own_nics(nft_node: World) -> None:
    both = vm_stdin(1, nic_xml("a1"), nic_xml("a2", NIC_ID="1", TARGET="one-1-1", VN_MAD="fw"))
    nft_node.hook("pre", both)
    assert remembered(nft_node) == {"one-1-0"}
    nft_node.hook("pre", both, driver="fw")
    assert remembered(nft_node) == {"one-1-0", "one-1-1"}
    nft_node.hook("clean", both)
    assert remembered(nft_node) == {"one-1-1"}


def test_a_pci_nic_is_left_alone_with_a_warning(nft_node: World) -> None:
    done = nft_node.hook("pre", vm_stdin(1, nic_xml("a1"), kind="PCI"))
    assert b"PCI NIC 0 has no tap and is not filtered" in done.stdout
    assert rules(nft_node) == NOTHING


def test_post_refuses_the_wrong_tap(nft_node: World) -> None:
    def said(*nics: str, vm: int = 1) -> str:
        done = nft_node.hook("post", vm_stdin(vm, *nics), check=False)
        assert done.returncode == 1
        return done.stderr.decode()

    nft_node.settings(tap_wait="0")
    nft_node.hook("pre", vm_of("a1"))
    assert "tap one-9-0 does not exist" in said(nic_xml("a1", TARGET="one-9-0"), vm=9)
    assert "one-1-0 on br0 instead of br1" in said(nic_xml("a1", BRIDGE="br1"))
    assert "with MAC fe:00:ac:10:01:01 instead of fe:00:ac:10:01:02" in said(nic_xml("a1", MAC=PORTS["a2"].mac))


def test_post_loads_again_what_was_flushed(node: World) -> None:
    node.hook("pre", vm_of("a1"))
    before = rules(node)
    node.run("hv", "nft", "flush", "ruleset")
    assert b"had vanished since pre and was loaded again" in node.hook("post", vm_of("a1")).stdout
    assert sorted(rules(node).split()) == sorted(before.split())


def test_only_allowed_macs_can_be_white_listed(nft_node: World) -> None:
    allowed = nft_node.remotes / "allowed-macs"
    allowed.write_text("# our gateways\n52:54:00:00:0a:00/40\n00:00:5e:00:01:00/40\n")
    nft_node.settings(allowed_macs=str(allowed))
    nft_node.hook("pre", vm_of("a1"))
    done = nft_node.hook("pre", vm_of("b3"), check=False)
    assert done.returncode == 1 and b"not within" in done.stderr and b"52:54:00:00:0b:fe" in done.stderr
    allowed.write_text("52:54/16\n")
    assert nft_node.hook("pre", vm_of("a1"), check=False).returncode == 1, "a damaged file allows nothing"


def test_what_a_guest_wrote_is_reported_and_ignored(nft_node: World) -> None:
    stdin = vm_stdin(1, nic_xml("a1"), user="<VAF_EXTRA_MACS>52:54:00:00:0b:fe</VAF_EXTRA_MACS>")
    done = nft_node.hook("pre", stdin)
    assert done.stdout == b"VAF_EXTRA_MACS in USER_TEMPLATE is ignored: a guest can write there\n"
    assert "52:54:00:00:0b:fe" not in rules(nft_node)


def test_a_broken_site_file_stops_pre(nft_node: World) -> None:
    nft_node.settings(mode="sometimes")
    done = nft_node.hook("pre", vm_of("a1"), check=False)
    assert done.returncode == 1 and b"mode = sometimes: must be one of enforce, observe" in done.stderr


def test_counters_and_explain_tell_what_was_caught(node: World) -> None:
    node.hook("pre", vm_of("a1"))
    text = net(node, "explain", "one-1-0")
    assert "may talk to: 00:00:5e:00:01:07 02:00:ac:10:01:00/40 52:54:00:00:0a:fe" in text
    assert "the source MAC is none of this NIC's" in text
    assert net(node, "counters", "one-1-0").splitlines()[0].split() == [
        "tap",
        "direction",
        "check",
        "verdict",
        "packets",
        "bytes",
    ]
    assert net(node, "explain", "one-9-9", check=False) == ""


def taps(vm: VmXml) -> list[tuple[str, str, str]]:
    """(name, bridge, MAC) of the taps that a hypervisor would make for the VM."""
    return [(e.get("TARGET"), e.get("BRIDGE"), "fe" + e.get("MAC")[2:]) for e in vm.elements if e.kind == "NIC"]


def test_replaying_every_recorded_call_leaves_nothing(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two nodes, every pre, post and clean in the order in which a real core made them."""
    nodes = {}
    try:
        for name in ("node1", "node2"):
            nodes[name] = World(tmp_path_factory.mktemp(name), prefix=f"{world.prefix}-{name}")
            subprocess.run(["ip", "netns", "add", nodes[name].namespace("hv")], check=True)
            nodes[name].install("trace", "trace2")
            nodes[name].settings(tap_wait="0")
            for bridge in ("br-private", "br-public"):
                nodes[name].run("hv", "ip", "link", "add", bridge, "type", "bridge")
        seen = set()
        for line in (DATA / "calls.tsv").read_text().splitlines():
            _number, _step, host, driver, verb, stdin = line.split("\t")[:6]
            data = (DATA / f"stdin/{stdin}.b64").read_bytes()
            node = nodes[host]
            batch = []
            for tap, bridge, mac in taps(vmxml.parse(data)):
                if verb == "post" and (host, tap) not in seen:
                    seen.add((host, tap))
                    batch += [f"link add {tap} address {mac} type veth", f"link set {tap} master {bridge}"]
                elif verb == "clean" and (host, tap) in seen:
                    seen.remove((host, tap))
                    batch.append(f"link del {tap}")
            if batch:
                node.run("hv", "ip", "-batch", "-", stdin="\n".join(batch).encode())
            done = node.hook(verb, data, driver=driver)
            assert done.stderr == b"", line
        for node in nodes.values():
            assert rules(node) == NOTHING
            assert remembered(node) == set()
            net(node, "reconcile")
            assert node.run("hv", "nft", "list", "ruleset").stdout == b""
    finally:
        for node in nodes.values():
            node.close()

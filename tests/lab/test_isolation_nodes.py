"""Isolation on a lab node as OpenNebula would run it: oneadmin, plain ssh, sudo with the rules a real node has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.netns_world import nic_xml, vm_stdin
from vafnebula.lab import Lab

CHECKOUT = Path(__file__).parents[2]
HOOKS = "/var/tmp/one/vnm/bridge"
# What OpenNebula's own packages allow oneadmin on every node from 6.10 to 7.4 (alias ONE_NET), as far as we need it.
OPENNEBULAS = "oneadmin ALL=(root) NOPASSWD: /usr/sbin/nft, /usr/sbin/ip link *\n"
ENABLE = """
ip link add br0 type bridge
ip link set br0 up
"""
DISABLE = """
for link in one-1-0 br0; do ip link del $link 2>/dev/null || :; done
nft flush ruleset
rm -rf /etc/sudoers.d/vafnebula-net /var/lock/one/vafnebula-net
"""


@pytest.fixture
def node(lab: Lab):
    """n1 with a bridge, and no sudo rule of isolation's yet."""
    lab.sh("n1", ENABLE)
    yield lab
    lab.sh("n1", DISABLE)


def hook(lab: Lab, verb: str, *argv: str, check: bool = True) -> tuple[int, str, str]:
    done = lab.ssh("n1", [f"{HOOKS}/{verb}.d/50-vafnebula", *argv], input=vm_stdin(1, nic_xml("a1")), check=check)
    return done.code, done.out.decode(), done.err.decode()


def allow(lab: Lab, text: str) -> None:
    lab.sh("n1", 'printf %s "$1" >/etc/sudoers.d/vafnebula-net; chmod 440 /etc/sudoers.d/vafnebula-net', text)


def net(lab: Lab, verb: str) -> object:
    return json.loads(lab.ssh("n1", ["/var/tmp/one/vafnebula/net", verb, "--json"], check=False).out)


def test_without_a_sudo_rule_the_vm_does_not_start(node: Lab) -> None:
    code, _out, err = hook(node, "pre", check=False)
    assert code == 1
    assert err.startswith("isolation pre failed: sudo refuses nft to oneadmin on the node; install ")
    assert err.count("\n") == 1


def test_a_vms_life_with_opennebulas_own_sudo_rules(node: Lab) -> None:
    """Everything but the port flags works; what does not is a note, and LLDP is closed on the bridge all the same."""
    allow(node, OPENNEBULAS)
    assert hook(node, "pre") == (0, "", "")
    node.sh("n1", "ip link add one-1-0 address fe:00:ac:10:01:01 type veth; ip link set one-1-0 master br0 up")
    code, out, err = hook(node, "post", "one-1", "n1")
    assert (code, err) == (0, "")
    assert out.startswith("port flags of one-1-0 are not set: sudo refuses bridge")
    assert node.sh("n1", "cat /sys/class/net/br0/bridge/no_linklocal_learn").strip() == "1"
    assert net(node, "verify") == {"good": ["one-1-0"], "problems": []}
    node.sh("n1", "nft flush ruleset")
    assert net(node, "reconcile") == {"loaded": ["one-1-0"], "removed": [], "good": [], "problems": []}
    node.sh("n1", "ip link del one-1-0")
    assert hook(node, "clean", "n1") == (0, "", "")
    assert "one-1-0" not in node.sh("n1", "nft list ruleset")


def test_our_sudo_rule_allows_the_port_flags_and_nothing_else(node: Lab) -> None:
    ours = (CHECKOUT / "share/sudoers/vafnebula-net").read_text()
    allow(node, OPENNEBULAS + ours)
    hook(node, "pre")
    node.sh("n1", "ip link add one-1-0 address fe:00:ac:10:01:01 type veth; ip link set one-1-0 master br0 up")
    assert hook(node, "post", "one-1", "n1") == (0, "", "")
    shown = node.sh("n1", "bridge -d link show dev one-1-0; bridge fdb show br br0")
    assert "learning off" in shown
    assert "locked on" in shown
    assert "02:00:ac:10:01:01 dev one-1-0 master br0 static" in shown
    for refused in ("link set dev one-1-0 learning on", "link set dev br0 learning off locked on", "fdb del x dev y"):
        assert node.ssh("n1", ["sudo", "-n", "bridge", *refused.split()], check=False).code == 1


def test_ebtables_needs_and_gets_its_own_rule(node: Lab) -> None:
    conf = "/var/tmp/one/etc/vafnebula/vafnebula.conf"
    before = node.sh("n1", f"cat {conf}")
    try:
        node.sh("n1", f"printf '\\n[net]\\nbackend = ebtables\\n' >>{conf}")
        allow(node, OPENNEBULAS)
        assert "sudo refuses ebtables-nft-save" in hook(node, "pre", check=False)[2]
        ours = (CHECKOUT / "share/sudoers/vafnebula-net").read_text().replace("#oneadmin", "oneadmin")
        allow(node, ours)
        assert hook(node, "pre") == (0, "", "")
        assert net(node, "verify") == {"good": ["one-1-0"], "problems": []}
        assert hook(node, "clean", "n1") == (0, "", "")
        assert "one-1-0" not in node.sh("n1", "ebtables-nft-save")
    finally:
        node.sh("n1", f'printf %s "$1" >{conf}', before)


def test_the_front_end_asks_a_node_through_ssh(node: Lab) -> None:
    allow(node, OPENNEBULAS)
    hook(node, "pre")
    command = "from vafnebula.cli import main; main()"
    argv = ["/opt/vafnebula/.venv/bin/python", "-c", command, "net", "explain", "one-1-0", "--host", "n1", "--json"]
    told = json.loads(node.run(argv).out)
    assert (told["loaded"], told["may_send_as"]) == (True, ["00:00:5e:00:01:07", "02:00:ac:10:01:01"])
    gone = node.run([*argv[:-4], "one-9-9", *argv[-3:]], check=False)
    assert gone.code == 2
    assert gone.err.startswith(b"net explain failed: ")

"""An admin's commands with OpenNebula's API and nodes that speak as recorded: JSON, exit codes, one line on failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.fakes.oned import SESSION, Oned
from tests.unit.admin.sight import KEY, disk, origin, volume
from vafnebula import __version__
from vafnebula.cli import main
from vafnebula.model import Order, Reply

DATA = Path(__file__).parents[1] / "data"
VM = DATA / "vm/vm-running-after-attach.xml"
# answers with the file that is called as the host and the verb of the order that comes on stdin; keeps the order
SSH = """#!/bin/sh
for word; do host=$last; last=$word; done
order=$(cat)
verb=${order#*\\"verb\\": \\"}
verb=${verb%%\\"*}
echo "$host $order" >>"$NODES/orders"
if [ -f "$NODES/$host.$verb" ]; then cat "$NODES/$host.$verb"; exit 0; fi
echo "ssh: connect to host $host port 22: No route to host" >&2
exit 255
"""


class Console:
    """Somebody on a front-end: an API with the recorded pools, and nodes that say what a test lets them say."""

    def __init__(self, home: Path, oned: Oned, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes = home / "nodes"
        self.nodes.mkdir()
        ssh = home / "bin/ssh"
        ssh.parent.mkdir()
        ssh.write_text(SSH)
        ssh.chmod(0o755)
        (home / "one_auth").write_text(SESSION + "\n")
        monkeypatch.setenv("PATH", f"{ssh.parent}:/usr/bin:/bin")
        monkeypatch.setenv("NODES", str(self.nodes))
        monkeypatch.setenv("ONE_XMLRPC", oned.url)
        monkeypatch.setenv("ONE_AUTH", str(home / "one_auth"))
        monkeypatch.setenv("ONE_LOCATION", str(home))
        self.conf = home / "var/remotes/etc/vafnebula/vafnebula.conf"
        self.conf.parent.mkdir(parents=True)

    def says(self, host: str, verb: str, facts: dict[str, Any]) -> None:
        (self.nodes / f"{host}.{verb}").write_bytes(Reply(__version__, facts=facts).to_json() + b"\n")

    def refuses(self, host: str, verb: str, error: str, text: str) -> None:
        (self.nodes / f"{host}.{verb}").write_bytes(Reply(__version__, error, text).to_json() + b"\n")

    def has(self, host: str, *volumes: dict[str, Any], links: dict[str, str] | None = None) -> None:
        group = {"size": 1 << 30, "free": 1 << 29, "volumes": list(volumes)}
        self.says(host, "survey", {"now": 0, "groups": {"vg-one-100": group}, "links": links or {}})

    def orders(self) -> list[tuple[str, Any]]:
        """(host, request) of everything that was asked, surveys left out."""
        lines = (self.nodes / "orders").read_text().splitlines()
        pairs = [
            (line.partition(" ")[0], Order.from_json(line.partition(" ")[2].encode(), __version__)) for line in lines
        ]
        return [(host, order.request) for host, order in pairs if order.request.verb != "survey"]

    def run(self, *words: str) -> Result:
        done = CliRunner().invoke(main, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done


@pytest.fixture
def oned() -> Iterator[Oned]:
    with Oned([VM, DATA / "vm/vm-tm-mad-system-running.xml"]) as server:
        for kind in ("host", "datastore", "image"):
            server.pools[f"one.{kind}pool.info"] = (DATA / f"pools/{kind}-pool-list.xml").read_text()
        yield server


@pytest.fixture
def console(tmp_path: Path, oned: Oned, monkeypatch: pytest.MonkeyPatch) -> Console:
    return Console(tmp_path, oned, monkeypatch)


def test_all_hosts_of_opennebula_are_asked_at_once_and_silent_ones_named(console: Console) -> None:
    console.has("node1", disk(3), volume("theirs"))
    done = console.run("volumes", "--json")
    assert done.exit_code == 1, "not all have answered"
    assert [(v["host"], v["name"], v["what"]) for v in json.loads(done.stdout)] == [
        ("node1", "lv-one-3-0", "disk"),
        ("node1", "theirs", "foreign"),
    ]
    assert "node2: node cannot be reached by ssh: connect to host node2 port 22: No route to host" in done.stderr
    console.has("node2")
    assert console.run("volumes", "--host", "node1", "--host", "node2", "--json").exit_code == 0


def test_orders_that_are_refused_are_told_in_text_and_json(console: Console) -> None:
    console.has("node1", origin())
    console.refuses("node1", "evict", "Busy", "origin x is in use: it is pinned (`vafnebula cache unpin`)")
    words = ("cache", "evict", KEY, "--host", "node1")
    done = console.run(*words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"node1 100 evict {KEY}: origin x is in use: it is pinned (`vafnebula cache unpin`)\n"
    done = console.run(*words, "--json")
    assert done.exit_code == 1
    [row] = json.loads(done.stdout)
    assert (row["host"], row["sds"], row["error"].partition(":")[0]) == ("node1", 100, "origin x is in use")


def test_warm_asks_each_node_for_each_image(console: Console) -> None:
    for host in ("a", "b"):
        console.says(host, "warm", {"result": "warm", "cache": "miss", "origin": KEY, "bytes": 5 << 20})
    done = console.run("cache", "warm", "base-raw", "--sds", "100", "--host", "a", "--host", "b")
    assert done.exit_code == 2, "no such image"
    assert done.stderr.count("\n") == 1
    image = "hookimg"
    done = console.run("cache", "warm", image, "--sds", "100", "--host", "a", "--host", "b", "--pin")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "copied, 5 MiB read" in done.stdout
    asked = sorted(console.orders(), key=lambda pair: pair[0])
    assert [host for host, _ in asked] == ["a", "b"]
    path = "/var/lib/one/datastores/101/60d09b8d77915b3422f9fe6d52829599"
    assert {(o.sds, o.image.datastore, o.image.path, o.size, o.pin) for _, o in asked} == {(100, 101, path, 0, True)}


def test_settings_of_the_datastore_go_with_the_order(console: Console) -> None:
    console.conf.write_text("[storage 100]\nmode = thick\n")
    console.has("node1", origin())
    console.says("node1", "pin", {"result": "pinned"})
    assert console.run("cache", "pin", KEY, "--host", "node1").exit_code == 0
    line = (console.nodes / "orders").read_text().splitlines()[-1]
    assert json.loads(line.partition(" ")[2])["settings"]["mode"] == "thick"


def test_fsck_looks_and_then_mends(console: Console, oned: Oned) -> None:
    link = {"100/3/0": "/dev/vg-one-100/lv-one-3-0"}
    oned.change(3, 0, {"TM_MAD": "fs_lvm_snap"})
    console.has("node1", disk(3), volume("theirs"), links={})
    done = console.run("fsck", "--host", "node1", "--json")
    assert done.exit_code == 1
    assert {(f["kind"], f["repair"], f["done"]) for f in json.loads(done.stdout)} == {
        ("lost link", "relink", ""),
        ("foreign", "", ""),
    }
    assert console.orders() == []
    console.says("node1", "relink", {"result": "linked"})
    done = console.run("fsck", "--host", "node1", "--repair")
    assert done.exit_code == 0
    assert "lost link: vg-one-100/lv-one-3-0: disk.0 of VM 3 is missing; mended (linked)" in done.stdout
    [(host, order)] = console.orders()
    assert (host, order.disk.vm, order.disk.directory) == ("node1", 3, "/var/lib/one/datastores/100/3")
    console.has("node1", disk(3), links=link)
    assert console.run("fsck", "--host", "node1").stdout == "0 findings on 1 nodes\n"


def test_fsck_removes_nothing_on_the_word_of_somebody_who_sees_not_all(console: Console, oned: Oned) -> None:
    """Wrong credentials, or a user who may not see the VM: that is not DONE."""
    console.has("node1", disk(4711))
    oned.session = "somebody:else"
    done = console.run("fsck", "--host", "node1", "--repair")
    assert done.exit_code == 2
    assert "authenticated" in done.stderr
    oned.session = SESSION
    done = console.run("fsck", "--host", "node1", "--repair")
    assert "unknown" in done.stdout
    assert console.orders() == []


def test_explain_asks_the_vms_own_node(console: Console) -> None:
    console.has("node1", origin(), disk(3, origin=f"vaf-origin-{KEY}"), links={"100/3/0": "/dev/vg-one-100/lv-one-3-0"})
    done = console.run("explain", "3", "0", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["origin"] == f"vaf-origin-{KEY}"
    assert "a snapshot of vaf-origin-" in console.run("explain", "3").stdout
    assert console.run("explain", "4711").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("volumes",),
        ("cache", "list"),
        ("cache", "warm", "x"),
        ("cache", "verify"),
        ("fsck",),
        ("explain", "3"),
    ],
)
def test_no_api_is_one_line(console: Console, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("ONE_XMLRPC", "http://127.0.0.1:1/RPC2")
    done = console.run(*words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Connection refused" in done.stderr


def test_a_wrong_site_file_is_one_line(console: Console) -> None:
    console.conf.write_text("[storage]\nmod = thin\n")
    done = console.run("check")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "did you mean mode" in done.stderr


def test_a_host_that_is_an_option_is_refused(console: Console) -> None:
    done = console.run("volumes", "--host=-oProxyCommand=reboot")
    assert done.exit_code == 2
    assert not (console.nodes / "orders").exists()

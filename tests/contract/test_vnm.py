"""The network hooks as OpenNebula runs them: recorded environment and stdin, a shell in between, no sbin in PATH.

nft is a program that keeps what it was told; what real ones do is tested in tests/lab.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vafnebula import errors

CHECKOUT = Path(__file__).parents[2]
DATA = CHECKOUT / "tests/data/vnm"
DEPLOYED = (DATA / "stdin/16c6b7af.b64").read_bytes().strip()  # OpenNebula sends no line break
KEEP = '#!/bin/sh\ncase $0 in */sudo) shift 2 ;; esac\ncat >"{0}/told$1"\nexit {1}\n'


class Node:
    """A node's home, SCRIPTS_REMOTE_DIR and programs in a directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.remotes = home / "one"
        shutil.copytree(CHECKOUT / "hooks/vnm", self.remotes / "vnm/trace")
        (self.remotes / "vafnebula").mkdir()
        shutil.copy(CHECKOUT / "mads/vafnebula/python", self.remotes / "vafnebula/python")
        (self.remotes / "vafnebula/vafnebula").symlink_to(CHECKOUT / "vafnebula")
        self.configure(f"state_dir = {home}/state")
        self.nft(0)

    def configure(self, text: str) -> None:
        site = self.remotes / "etc/vafnebula/vafnebula.conf"
        site.parent.mkdir(parents=True, exist_ok=True)
        site.write_text(f"[net]\n{text}\n")

    def nft(self, code: int) -> None:
        (self.home / "bin").mkdir(exist_ok=True)
        for name in ("nft", "sudo"):
            program = self.home / "bin" / name
            program.write_text(KEEP.format(self.home, code))
            program.chmod(0o755)

    def told(self, argument: str) -> str | None:
        file = self.home / f"told{argument}"
        return file.read_text() if file.exists() else None

    def call(self, verb: str, stdin: bytes, *argv: str) -> subprocess.CompletedProcess[bytes]:
        environment = {
            "HOME": str(self.home),
            "LOGNAME": "oneadmin",
            "PATH": f"{self.home}/bin:/usr/local/bin:/usr/bin:/bin:/usr/games",
            "SHELL": "/bin/bash",
            "USER": "oneadmin",
        }
        line = " ".join([f"{self.remotes}/vnm/trace/{verb}.d/50-vafnebula", *argv])
        return subprocess.run(["sh", "-c", line], input=stdin, env=environment, cwd=self.home, capture_output=True)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_pre_checks_and_loads_one_program_in_silence(node: Node) -> None:
    done = node.call("pre", DEPLOYED)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    program = node.told("-c")
    assert program == node.told("-f")
    assert program is not None
    assert [f'"{t}" : jump {t}-tx' in program for t in ("one-3-0", "one-3-1", "one-3-2")] == [True, False, True]
    assert sorted(p.name for p in (node.home / "state").iterdir()) == ["lock", "one-3-0", "one-3-2"]


def test_clean_takes_the_host_as_argument(node: Node) -> None:
    done = node.call("clean", DEPLOYED, "node1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert "delete chain bridge vafnebula one-3-2-rx" in str(node.told("-f"))


def test_a_call_about_others_asks_for_nothing(node: Node) -> None:
    other = base64.b64encode(base64.b64decode(DEPLOYED).replace(b"[trace]", b"[ovswitch]"))
    for verb in ("pre", "post", "clean"):
        done = node.call(verb, other)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not node.told("-f")


@pytest.mark.parametrize("stdin", [b"", b"\0", b"PFZNPg==", DEPLOYED[:-40], DEPLOYED + b"!", b"<VM><ID>7</ID>"])
def test_what_is_no_vm_is_one_plain_line(node: Node, stdin: bytes) -> None:
    done = node.call("pre", stdin)
    assert done.returncode == 1
    assert done.stdout == b""
    line = done.stderr.decode()
    assert line.endswith("\n")
    assert line.startswith("isolation pre failed: VM description 'stdin' is not acceptable: ")
    assert len(line) <= errors.LIMIT + 1
    assert line[:-1].isprintable()
    assert str(CHECKOUT) not in line
    assert not node.told("-f"), "nft waits for a program and gets none"
    assert node.call("clean", stdin).returncode == 0, "clean never stops a VM from going"


def test_a_program_that_nft_refuses_is_not_loaded(node: Node) -> None:
    node.nft(1)
    done = node.call("pre", DEPLOYED)
    assert done.returncode == 1
    assert done.stderr.startswith(b"isolation pre failed: nft failed with exit code 1")
    assert not node.told("-f")
    assert os.listdir(node.home / "state") == ["lock"]


def test_a_node_without_the_package_says_what_to_do(node: Node) -> None:
    (node.remotes / "vafnebula/python").unlink()
    for verb in ("pre", "post", "clean"):
        done = node.call(verb, DEPLOYED)
        assert done.returncode == (verb != "clean")
        assert done.stderr.count(b"\n") == 1
        assert b"run `onehost sync -f`" in done.stderr


def test_no_bytecode_is_left_beside_the_hooks(node: Node) -> None:
    node.call("pre", DEPLOYED)
    assert [p.name for p in (node.remotes / "vnm/trace/pre.d").iterdir()] == ["50-vafnebula"]
    assert not list(node.remotes.rglob("__pycache__"))

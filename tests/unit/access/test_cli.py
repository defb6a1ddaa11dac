"""`vafnebula access` as an admin runs it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vafnebula.access.registry import Entry, Registry
from vafnebula.cli import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "access.conf"
    path.write_text(f"certificate = /x\nkey = /x\nca = /x\ncrl = /x\nregistry = {tmp_path}/keys\n")
    registry, now = Registry(f"{tmp_path}/keys"), int(time.time())
    for account, key, subject in (("alice", "ssh-ed25519 A", "CN=A"), ("bob", "ssh-ed25519 B", "CN=B")):
        registry.register(Entry(account, key, subject, now + 3600), now, 5)
    return path


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["access", *words, "--config", str(config)])


def test_list(config: Path) -> None:
    lines = run(config, "list").output.splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in lines] == [("alice", "CN=A"), ("bob", "CN=B")]


def test_keys(config: Path) -> None:
    assert run(config, "keys", "alice").output.endswith(" ssh-ed25519 A\n")
    assert run(config, "keys", "carol").output == ""


def test_revoke(config: Path) -> None:
    assert run(config, "revoke").exit_code == 2
    assert run(config, "revoke", "--subject", "CN=A").output == "1 keys ended\n"
    assert run(config, "list").output.split()[0] == "bob"


def test_a_file_with_a_mistake(config: Path) -> None:
    config.write_text(config.read_text() + "hour = 3\n")
    done = run(config, "list")
    assert done.exit_code == 1
    assert "unknown key 'hour', did you mean hours?" in done.output


def test_serve_says_what_is_missing(config: Path) -> None:
    done = run(config, "serve")
    assert done.exit_code == 1
    assert done.output.startswith("Error: /x: it cannot be used: No such file or directory")

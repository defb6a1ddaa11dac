"""The registry stays consistent with many writers, of which some are killed; and the pure parts beside it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors
from vafnebula.access import accounts, keys, subject
from vafnebula.access.registry import Entry, Registry, TooMany
from vafnebula.keyvalue import Unusable

WRITERS, EACH = 8, 125
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43


def entry(account: str = "a", key: str = KEY, expires: int = 100, who: str = "CN=A") -> Entry:
    return Entry(account, key, who, expires)


def _write(path: str, writer: int, done: str) -> None:
    registry = Registry(path)
    with Path(done).open("a", buffering=1) as said:
        for i in range(EACH):
            registry.register(entry(f"u{writer}-{i}", f"k{writer}-{i}"), 0, 5)
            said.write(f"u{writer}-{i}\n")  # only after it was told to be registered


def test_1000_registrations_by_parallel_writers_of_which_some_are_killed() -> None:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a kill needs no disk, and fsync takes long
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        _storm(Path(directory))


def _storm(tmp_path: Path) -> None:
    path = str(tmp_path / "keys")
    context = multiprocessing.get_context("fork")

    def started(writer: int) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_write, args=(path, writer, str(tmp_path / f"done{writer}")))
        process.start()
        return process

    first = [started(n) for n in range(WRITERS)]
    for number, victim in enumerate(first[:4]):
        while not (tmp_path / f"done{number}").exists() or (tmp_path / f"done{number}").stat().st_size < 40:
            time.sleep(0.001)
        os.kill(victim.pid or 0, signal.SIGKILL)
    for process in first:
        process.join()
    promised = {line for file in tmp_path.glob("done*") for line in file.read_text().split()}
    there = {e.account for e in Registry(path).entries(1)}
    assert promised <= there
    assert len(there - promised) <= 4  # one that was killed may have registered what it could not say
    for process in [started(n) for n in range(4)]:  # they begin again, and nothing is there twice
        process.join()
    assert len(Registry(path).entries(1)) == WRITERS * EACH
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_keys_end(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "keys"))
    registry.register(entry(expires=100), 0, 5)
    registry.register(entry(key="other", expires=200), 0, 5)
    assert [e.expires for e in registry.entries(99)] == [100, 200]
    assert [e.expires for e in registry.entries(100)] == [200]
    registry.register(entry(expires=300), 150, 5)  # renewed
    assert [e.expires for e in registry.entries(0)] == [200, 300]


def test_too_many_change_nothing(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "keys"))
    registry.register(entry(), 0, 1)
    with pytest.raises(TooMany):
        registry.register(entry(key="other"), 0, 1)
    registry.register(entry(expires=200), 0, 1)
    assert [e.key for e in registry.entries(0)] == [KEY]
    registry.register(entry(key="other", expires=400), 200, 1)  # the first has ended


def test_revoke(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "keys"))
    for account, who in (("a", "CN=A"), ("a", "CN=B"), ("b", "CN=A")):
        registry.register(entry(account, who + account, who=who), 0, 5)
    assert registry.revoke(account="a", subject="CN=A") == 1
    assert registry.revoke(subject="CN=A") == 1
    assert registry.revoke(account="a") == 1
    assert registry.entries(0) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemRefused):
        Registry(str(tmp_path / "gone/keys")).entries(0)
    (tmp_path / "text").write_text("this is no database, and long enough to be seen as none by SQLite" * 20)
    with pytest.raises(errors.SystemRefused):
        Registry(str(tmp_path / "text")).entries(0)


def test_lines_for_sshd(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "keys"))
    registry.register(entry("alice", expires=2_000_000_000), 0, 5)
    registry.register(entry("bob", expires=2_000_000_000), 0, 5)
    end = time.strftime("%Y%m%d%H%M%S", time.localtime(2_000_000_000))
    assert list(keys.lines(registry, "alice", 0)) == [f'{keys.OPTIONS},expiry-time="{end}" {KEY}']
    assert list(keys.lines(registry, "carol", 0)) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ([[("countryName", "IT")], [("organizationName", "INFN")], [("commonName", "A B")]], "CN=A B,O=INFN,C=IT"),
        ([[("commonName", "a,CN=root")]], r"CN=a\,CN=root"),
        ([[("commonName", "x"), ("userId", "y+z")]], r"CN=x+UID=y\+z"),
        ([[("commonName", "#x")]], r"CN=\#x"),
        ([[("commonName", " x ")]], r"CN=\ x\ "),
        ([[("commonName", "a\nb")]], r"CN=a\0Ab"),
    ],
)
def test_a_subject_is_unambiguous(name: list[list[tuple[str, str]]], said: str) -> None:
    assert subject.text(name) == said


@given(st.lists(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=2), min_size=1, max_size=3))
def test_different_names_are_different_texts(values: list[list[str]]) -> None:
    """The text can be read back: what is not escaped separates."""
    name = [[("commonName", value) for value in part] for part in values]
    text = subject.text(name)
    read, current, i = [[""]], "", 0
    while i < len(text):
        if text[i] == "\\":
            plain = text[i + 1] in ',+"\\<>;# '
            current += text[i + 1] if plain else chr(int(text[i + 1 : i + 3], 16))
            i += 2 if plain else 3
            continue
        if text[i] in ",+":
            read[-1][-1] = current
            current = ""
            read.append([""]) if text[i] == "," else read[-1].append("")
        else:
            current += text[i]
        i += 1
    read[-1][-1] = current
    assert [[value.removeprefix("CN=") for value in part] for part in reversed(read)] == values


def test_an_unknown_part_of_a_name_is_refused() -> None:
    with pytest.raises(errors.BadArgument):
        subject.text([[("pseudonym", "x")]])


@pytest.mark.parametrize(
    "text", ["root CN=x\n", "vafreg CN=x\n", "alice\n", "Alice CN=x\n", "a CN=x\nb CN=x\n", "../x CN=x\n"]
)
def test_a_table_with_a_mistake_maps_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "accounts").write_text("carol CN=c\n" + text)
    with pytest.raises(Unusable):
        accounts.load(str(tmp_path / "accounts"))


def test_a_table(tmp_path: Path) -> None:
    (tmp_path / "accounts").write_text("# comment\n\ncarol  CN=Carol,O=x y\ncarol CN=Carol (new)\n")
    assert accounts.load(str(tmp_path / "accounts")) == {"CN=Carol,O=x y": "carol", "CN=Carol (new)": "carol"}

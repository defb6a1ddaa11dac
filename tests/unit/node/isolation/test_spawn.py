from __future__ import annotations

import os
import time

import pytest

from vafnebula import errors
from vafnebula.node.isolation import spawn
from vafnebula.node.isolation.spawn import Waiting


def test_input_goes_in_and_output_comes_out() -> None:
    big = b"x" * 3_000_000
    done = spawn.run(["sh", "-c", "cat; echo no >&2; exit 3"], input=big, timeout=30, check=False)
    assert (done.code, done.out, done.err) == (3, big, b"no\n")


def test_a_failure_is_one_sentence() -> None:
    with pytest.raises(errors.CommandFailed, match=r"^sh failed with exit code 3: first second; see"):
        spawn.run(["sh", "-c", "echo first >&2; echo second >&2; exit 3"], timeout=30)


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(errors.CommandFailed, match=r"^no-such-program failed with exit code 127: No such file"):
        spawn.run(["no-such-program"], timeout=30)


def test_what_takes_too_long_is_killed() -> None:
    began = time.monotonic()
    with pytest.raises(errors.CommandFailed, match=r"no end after 0\.2 seconds"):
        spawn.run(["sleep", "60"], timeout=0.2)
    assert time.monotonic() - began < 30


def test_sudo_without_a_rule_is_the_sites_matter(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = os.path.join(tmp_path, "sudo")
    with open(fake, "w") as f:
        f.write("#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n")
    os.chmod(fake, 0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(errors.SudoRefused, match="sudo refuses nft"):
        spawn.run(["sudo", "-n", "nft"], timeout=30)


def test_a_waiting_program_gets_its_input_later() -> None:
    waiting = Waiting(["cat"])
    assert waiting.run(b"now", 30).out == b"now"
    waiting.abandon()
    large = b"x" * (spawn.PIPE_HOLDS + 1)
    assert Waiting(["cat"]).run(large, 30).out == large


def test_a_waiting_program_that_is_not_needed_reads_nothing() -> None:
    before = set(os.listdir("/proc/self/fd"))
    waiting = Waiting(["sh", "-c", "cat; exit 5"])
    waiting.abandon()
    waiting.abandon()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_waiting_program_that_died_says_why() -> None:
    waiting = Waiting(["sh", "-c", "echo refused >&2; exit 1"])
    time.sleep(0.1)
    with pytest.raises(errors.CommandFailed, match="refused"):
        waiting.run(b"program", 30)

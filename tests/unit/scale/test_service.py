"""The daemon as systemd runs it and the commands as an admin types them: real processes, a Slurm without jobs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.oned import SESSION
from tests.fakes.opennebula import Kind, OpenNebula
from tests.slurm.cluster import wait
from vafnebula.scale import journal, poke
from vafnebula.scale.batch import slurm

POLICY = """\
batch: {{system: slurm}}
service:
  state: {root}/state
  socket: {root}/sock
  local: {root}/api
  period: 1s
  quiet: 0.1s
pools:
  batch:
    min_vms: {least}
    limits: {{vms: 5}}
    templates: [{{name: worker, template: worker, cores: 2, memory: 1GiB}}]
"""


class Site:
    def __init__(self, root: Path, one: OpenNebula) -> None:
        self.root, self.one = root, one
        self.policy = root / "scale.yaml"
        self.write(1)
        commands = root / "bin"
        commands.mkdir()
        for name, text in (
            ("squeue", ""),
            ("scontrol", 'case "$*" in *config*) echo "SelectTypeParameters = CR_CORE";; esac'),
        ):
            (commands / name).write_text(f"#!/bin/sh\n{text}\n")
            (commands / name).chmod(0o755)
        (root / "one_auth").write_text(SESSION + "\n")
        self.bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.bell.bind(str(root / "notify"))
        self.bell.settimeout(60)
        self.environment = {
            "PATH": f"{commands}:/usr/bin:/bin",
            "ONE_XMLRPC": one.url,
            "ONE_AUTH": str(root / "one_auth"),
            "NOTIFY_SOCKET": str(root / "notify"),
        }
        self.child: subprocess.Popen[str] | None = None

    def write(self, least: int) -> None:
        self.policy.write_text(POLICY.format(root=self.root, least=least))

    def argv(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-c",
            "from vafnebula.cli import main; main()",
            "scale",
            *words,
            "--policy",
            str(self.policy),
        ]

    def start(self) -> None:
        out = (self.root / "out").open("a")
        self.child = subprocess.Popen(self.argv("run"), env=self.environment, stdout=out, stderr=out, text=True)
        out.close()

    def say(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            self.argv(*words), env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def told(self, word: str) -> str:
        """What systemd is told, up to a message with `word`."""
        while True:
            text = self.bell.recv(4096).decode()
            if word in text:
                return text

    def records(self, kind: str) -> list[dict[str, object]]:
        return [dict(r) for r in journal.read(self.root / "state" / journal.CURRENT) if r["kind"] == kind]

    def stop(self) -> int:
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(60)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with OpenNebula({5: Kind("worker", 2, 1024)}) as one:
        made = Site(tmp_path, one)
        yield made
        if made.child is not None and made.child.poll() is None:
            made.child.kill()
            made.child.wait()
        made.bell.close()


def test_a_life(site: Site) -> None:
    site.start()
    site.told("READY=1")
    site.told("WATCHDOG=1")
    wait(lambda: len(site.one.alive()) == 1, "min_vms is held")

    second = site.say("run", code=2)
    assert "is in use by another scaler" in second
    assert second.count("\n") == 1, "one line for a person"

    wait(lambda: len(json.loads(site.say("status", "--json"))["vms"]) == 1, "what was done is seen at the next look")
    status = json.loads(site.say("status", "--json"))
    assert (status["leads"], status["hold"]) == (True, None)
    assert "pool batch" in site.say("status")

    assert "max 4" in site.say("bounds", "batch", "--min", "2", "--max", "4")
    wait(lambda: len(site.one.alive()) == 2, "the caller's bounds hold")
    assert "must be 0 to 5" in site.say("bounds", "batch", "--max", "9", code=2)

    site.policy.write_text("nonsense: 1\n")
    assert site.child is not None
    site.child.send_signal(signal.SIGHUP)
    site.told("READY=1")
    (bad,) = site.records("reloaded")
    assert bad["happened"] is False
    assert "nonsense" in str(bad["why"])

    site.write(3)
    site.child.send_signal(signal.SIGHUP)
    site.told("RELOADING=1")
    site.told("READY=1")
    site.say("bounds", "batch")
    wait(lambda: len(site.one.alive()) == 3, "the new file holds")

    before = site.one.calls["vmpool.infoextended"]
    assert poke.poke(str(site.root / "sock"), "hello")
    wait(lambda: site.one.calls["vmpool.infoextended"] > before, "a look")

    assert site.stop() == 0
    site.told("STOPPING=1")
    assert [r["by"] for r in site.records("scaled")] == ["local socket", "local socket"]
    assert len(site.records("stopped")) == 1
    assert not (site.root / "sock").exists()
    assert (site.root / "out").read_text() == ""


def test_it_waits_for_opennebula(site: Site) -> None:
    """Names of templates cannot be looked up yet: it says so to systemd, and can be stopped."""
    site.one.down = True
    site.start()
    assert "waiting" in site.told("STATUS=")
    assert site.stop() == 0


def test_plan_explain_and_once_need_no_daemon(site: Site) -> None:
    (site.root / "bin/squeue").write_text(f"#!/bin/sh\nprintf '%s\\n' '{_job()}'\n")
    said = site.say("plan")
    assert "would start" in said
    assert "keeps 1 VMs at least" in said
    assert site.one.alive() == []
    assert not (site.root / "state").exists(), "plan leaves nothing"
    assert "job 7" in site.say("explain", "job", "7")
    assert site.say("explain", "job", "8", code=1) == "there is no job 8\n"
    assert "would" not in site.say("once", "--dry-run")
    assert site.one.alive() == []
    assert "start" in site.say("once")
    assert len(site.one.alive()) == 1
    number = str(site.one.alive()[0].id)
    story = site.say("log")
    assert ": pool batch keeps 1 VMs at least" in story
    assert f": done: VM {number}" in story
    assert f"VM {number} of pool batch" in site.say("explain", "vm", number)
    assert "does not answer" in site.say("status", code=2)


@pytest.mark.parametrize("verb", [["plan"], ["once"], ["run"], ["status"], ["explain", "job", "1"]])
def test_a_bad_policy_is_one_line(site: Site, verb: list[str]) -> None:
    site.policy.write_text("pools: {}\n")
    said = site.say(*verb, code=2)
    assert said.startswith(f"scale {verb[0]} failed: ")
    assert said.count("\n") == 1


def _job() -> str:
    """A line of `squeue -O` as the adapter asks for it."""
    values = {
        "JobArrayID": "7",
        "State": "PENDING",
        "NumNodes": "1",
        "tres-alloc": "cpu=64,mem=1G,node=1",
        "MinMemory": "1G",
        "OverSubscribe": "OK",
        "SubmitTime": "1700000000",
        "Partition": "batch",
        "Reason": "Resources",
        "UserName": "anna",
    }
    return "".join(values.get(f, "") + slurm.SEPARATOR for f in slurm.FIELDS)

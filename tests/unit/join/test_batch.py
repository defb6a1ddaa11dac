"""root's part: only checked words reach the batch system's commands, each of which is a program that records here."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from vafnebula import errors
from vafnebula.join.batch import answer
from vafnebula.join.settings import Settings
from vafnebula.keyvalue import Unusable

RECORDING = """#!/bin/sh
echo "$0 $*" | sed "s|.*/||" >>{directory}/calls
{body}
"""
ABSENT = {
    "scontrol": '[ "$1" != show ] || { echo "Node $3 not found"; exit 1; }',
    "pbsnodes": 'echo "pbsnodes: Unknown node  MSG=cannot locate specified node" >&2; exit 1',
    "qmgr": "",
    "condor_status": "",
    "condor_token_create": "echo eyJ0.token",
}
THERE = {
    "scontrol": 'echo "NodeName=x"',
    "pbsnodes": "echo x",
    "condor_status": "echo x",
    "condor_token_create": "echo t",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    install(tmp_path, ABSENT)
    return tmp_path


def install(directory: Path, bodies: dict[str, str]) -> None:
    for name, body in bodies.items():
        (directory / "bin" / name).write_text(RECORDING.format(directory=directory, body=body))
        (directory / "bin" / name).chmod(0o755)


def site(batch: str, **more: str) -> Settings:
    return Settings(cluster="c", batch=batch, network="172.16.1.0/24", slots=8, memory=8000, **more)  # type: ignore[arg-type]


RIGHTS = "-authz ADVERTISE_MASTER -authz ADVERTISE_STARTD -authz READ"
ADDED = {
    "slurm": [
        "scontrol show node -o vaf-41",
        "scontrol create nodename=vaf-41 nodeaddr=172.16.1.11 CPUs=2 RealMemory=900 State=CLOUD",
    ],
    "torque": ["pbsnodes vaf-41", "qmgr -c create node vaf-41 np=2"],
    "htcondor": [
        'condor_status -startd -limit 1 -af Machine -constraint Machine == "vaf-41"',
        f"condor_token_create -identity vaf-41@c -lifetime 2592000 {RIGHTS}",
    ],
}
AGAIN = {
    "slurm": "scontrol update nodename=vaf-41 nodeaddr=172.16.1.11",
    "torque": "qmgr -c set node vaf-41 np = 2",
}


@pytest.mark.parametrize("batch", ADDED)
def test_add(programs: Path, batch: str) -> None:
    (programs / "secret").write_bytes(b"k\0")
    reply = answer(
        site(batch, give=f"key={programs}/secret"), ["add", "vaf-41", "172.16.1.11", "2", "900"], hosts(programs)
    )
    assert (programs / "calls").read_text().splitlines() == ADDED[batch]
    lines = reply.splitlines()
    assert lines[:2] == ["name vaf-41", "file key " + base64.b64encode(b"k\0").decode()]
    if batch == "htcondor":
        assert base64.b64decode(lines[2].split()[2]) == b"eyJ0.token\n"


@pytest.mark.parametrize("batch", AGAIN)
def test_adding_again_corrects(programs: Path, batch: str) -> None:
    install(programs, THERE)
    answer(site(batch), ["add", "vaf-41", "172.16.1.11", "2", "900"], hosts(programs))
    assert (programs / "calls").read_text().splitlines()[-1] == AGAIN[batch]


@pytest.mark.parametrize("batch", ADDED)
def test_has(programs: Path, batch: str) -> None:
    assert answer(site(batch), ["has", "vaf-41"]) == "no\n"
    install(programs, THERE)
    assert answer(site(batch), ["has", "vaf-41"]) == "yes\n"


def test_a_batch_system_that_is_down_is_no_absence(programs: Path) -> None:
    install(programs, {"scontrol": "echo 'Unable to contact slurm controller' >&2; exit 1"})
    with pytest.raises(errors.CommandFailed):
        answer(site("slurm"), ["has", "vaf-41"])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["has"],
        ["has", "vaf-41", "x"],
        ["has", "head"],
        ["has", "vaf-41 x"],
        ["has", "-vaf"],
        ["remove", "vaf-41"],
        ["add", "vaf-41", "172.16.1.11", "2"],
        ["add", "vaf-41", "172.16.2.11", "2", "900"],
        ["add", "vaf-41", "172.16.1.11", "9", "900"],
        ["add", "vaf-41", "172.16.1.11", "2", "9000"],
        ["add", "vaf-41", "172.16.1.11", "2 State=DOWN", "900"],
        ["add", "vaf-41", "x", "2", "900"],
        ["add", "vaf-41\n", "172.16.1.11", "2", "900"],
    ],
)
def test_nothing_else_is_done(programs: Path, words: list[str]) -> None:
    with pytest.raises(errors.BadArgument):
        answer(site("slurm"), words, hosts(programs))
    assert not (programs / "calls").exists()
    assert Path(hosts(programs)).read_text() == "127.0.0.1 localhost\n"


def test_a_file_that_cannot_be_given(programs: Path) -> None:
    with pytest.raises(Unusable, match=r"gone.*join\.conf"):
        answer(site("slurm", give="key=/gone"), ["add", "vaf-41", "172.16.1.11", "2", "900"], hosts(programs))


def test_hosts_has_each_name_and_address_once(programs: Path) -> None:
    for name, address in (("vaf-41", "172.16.1.11"), ("vaf-42", "172.16.1.12"), ("vaf-43", "172.16.1.11")):
        for _ in range(2):
            answer(site("slurm"), ["add", name, address, "1", "1"], hosts(programs))
    lines = (programs / "hosts").read_text().splitlines()
    assert [line.split(" #")[0] for line in lines] == [
        "127.0.0.1 localhost",
        "172.16.1.12 vaf-42",
        "172.16.1.11 vaf-43",
    ]


def hosts(directory: Path) -> str:
    if not (directory / "hosts").exists():
        (directory / "hosts").write_text("127.0.0.1 localhost\n")
    return str(directory / "hosts")

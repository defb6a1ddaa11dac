"""Who may join, and who may not: every refusal has its audit line, and changes nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors
from vafnebula.join import audit, keys, request, settings
from vafnebula.join.ledger import Ledger
from vafnebula.join.register import register
from vafnebula.join.request import Refused
from vafnebula.join.settings import Settings
from vafnebula.join.vms import Vm
from vafnebula.keyvalue import Unusable

SITE = Settings(cluster="c", batch="slurm", network="172.16.1.0/24", window=600, attempts=5, slots=8, memory=8000)
ID, OTHER_ID = "0" * 32, "1" * 32
REQUEST = f"join slots=2 memory=900 id={ID}"


def key(letter: str) -> str:
    return f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{letter * 43}"


WORKER = Vm(41, "worker", True, ("172.16.1.11",), key("A"))


@dataclass
class FakeBatch:
    """A batch system, as the forced command sees it through sudo."""

    system: str = "slurm"
    nodes: dict[str, str] = field(default_factory=dict)
    broken: bool = False

    @property
    def keeps_nodes(self) -> bool:
        return self.system != "htcondor"

    def has(self, name: str) -> bool:
        return name in self.nodes

    def add(self, name: str, address: str, slots: int, memory: int) -> str:
        if self.broken:
            raise errors.CommandFailed(program="scontrol", code=1, why="no contact")
        self.nodes[name] = address
        return f"name {name}\n"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    lines: list[str] = []
    monkeypatch.setattr(audit.syslog, "syslog", lambda _level, line: lines.append(line))
    return lines


@dataclass
class Head:
    ledger: Ledger
    batch: FakeBatch
    vms: list[Vm]
    now: float = 1000.0

    def asks(
        self,
        vm: int | None = 41,
        said: str = REQUEST,
        address: str = "172.16.1.11",
        level: int = 2,
        site: Settings = SITE,
    ) -> str:
        environment = {"SSH_CONNECTION": f"{address} 50000 172.16.1.10 22", "SSH_ORIGINAL_COMMAND": said}
        vms = (lambda: self.vms) if level == 2 else None
        return register(site, self.ledger, self.batch, vms, environment, self.now, vm)  # type: ignore[arg-type]


@pytest.fixture
def head(tmp_path: Path, log: list[str]) -> Head:
    return Head(Ledger(str(tmp_path)), FakeBatch(), [WORKER])


def test_a_worker_joins_and_may_repeat_it(head: Head, log: list[str]) -> None:
    assert head.asks() == "name vaf-41\n"
    head.now += 10_000  # long after the window
    assert head.asks() == "name vaf-41\n"
    assert head.batch.nodes == {"vaf-41": "172.16.1.11"}
    assert [line.split()[0] for line in log] == ["granted", "granted"]


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("not of the form", {"said": ""}),
        ("not of the form", {"said": REQUEST + " "}),
        ("not of the form", {"said": REQUEST + "\n"}),
        ("not of the form", {"said": REQUEST.replace("2", "02")}),
        ("not of the form", {"said": "join slots=$(id) memory=1 id=" + ID}),
        ("at most 8 slots", {"said": REQUEST.replace("slots=2", "slots=9")}),
        ("at most 8 slots and 8000 MiB", {"said": REQUEST.replace("900", "9000")}),
        ("not in 172.16.1.0/24", {"address": "172.16.2.11"}),
        ("no running worker", {"address": "172.16.1.12"}),
        ("the key belongs to VM 42, the address to VM 41", {"vm": 42}),
        ("the key belongs to VM None", {"vm": None}),
    ],
)
def test_refusals(head: Head, log: list[str], why: str, change: dict[str, str]) -> None:
    with pytest.raises(Refused, match=".*".join(["not joined", why.replace("$", ".")])):
        head.asks(**change)  # type: ignore[arg-type]
    assert log[-1].startswith(f"refused address={change.get('address', '172.16.1.11')} why=")
    assert why in log[-1]
    assert head.batch.nodes == {}


@pytest.mark.parametrize(
    "vms",
    [
        [Vm(41, "head", True, ("172.16.1.11",), key("A"))],
        [Vm(41, "worker", False, ("172.16.1.11",), key("A"))],
        [WORKER, Vm(42, "worker", True, ("172.16.1.11",), key("B"))],
        [Vm(41, "worker", True, ("172.16.1.11",), "")],
    ],
)
def test_opennebula_must_know_exactly_one_such_vm(head: Head, vms: list[Vm]) -> None:
    head.vms = vms
    with pytest.raises(Refused):
        head.asks()
    assert head.batch.nodes == {}


def test_the_first_key_of_a_vm_wins(head: Head) -> None:
    head.asks()
    head.vms = [Vm(41, "worker", True, ("172.16.1.11",), key("B"))]
    with pytest.raises(Refused, match="first seen with another key"):
        head.asks()


def test_too_late(head: Head, log: list[str]) -> None:
    assert len(list(keys.lines(SITE, head.ledger, head.vms, head.now))) == 1
    head.now += 601
    with pytest.raises(Refused, match="more than 600 s ago"):
        head.asks()
    assert list(keys.lines(SITE, head.ledger, head.vms, head.now)) == []
    assert len(log) == 2


def test_the_rate_is_limited_per_address(head: Head) -> None:
    for _ in range(5):
        head.asks()
    with pytest.raises(Refused, match="more than 5 requests"):
        head.asks()
    with pytest.raises(Refused, match="no running worker"):
        head.asks(address="172.16.1.12")
    head.now += 61
    head.asks()


def test_a_removed_worker_stays_away(head: Head) -> None:
    head.asks()
    head.batch.nodes.clear()
    with pytest.raises(Refused, match="vaf-41 was removed"):
        head.asks()
    condor = Head(head.ledger, FakeBatch("htcondor"), head.vms)
    condor.asks()  # which keeps no list: absence says nothing


def test_a_crash_between_claim_and_batch_system_is_repeated(head: Head, log: list[str]) -> None:
    head.batch.broken = True
    with pytest.raises(errors.CommandFailed):
        head.asks()
    assert log[-1].startswith("refused")
    head.batch.broken = False
    assert head.asks() == "name vaf-41\n"


def test_level_1_a_name_is_an_address(head: Head) -> None:
    assert head.asks(level=1, vm=None) == "name vaf-172-16-1-11\n"
    again = REQUEST.replace(ID, OTHER_ID)
    with pytest.raises(Refused, match="vaf-172-16-1-11 is taken"):
        head.asks(level=1, vm=None, said=again)
    head.batch.nodes.clear()  # the scaler removed the first; the address goes to another VM
    assert head.asks(level=1, vm=None, said=again) == "name vaf-172-16-1-11\n"
    with pytest.raises(Refused, match="is taken"):
        head.asks(level=1, vm=None)


def test_lines_for_sshd(head: Head) -> None:
    others = [
        Vm(40, "head", True, ("172.16.1.10",), key("H")),
        Vm(42, "worker", False, ("172.16.1.12",), key("B")),
        Vm(43, "worker", True, ("10.0.0.1",), key("C")),
        Vm(44, "worker", True, ("172.16.1.14",)),
    ]
    (line,) = keys.lines(SITE, head.ledger, [WORKER, *others], 1000.0)
    options, kind, text, comment = line.split(" ")[0], *line.split(" ")[-3:]
    assert (kind, comment) == ("ssh-ed25519", "vm-41")
    assert text == key("A").split()[1]
    assert options.startswith('restrict,from="172.16.1.11",command="/usr/libexec/vafnebula/join')
    assert 'expiry-time="' in line
    head.asks()
    (line,) = keys.lines(SITE, head.ledger, [WORKER], 99_999.0)
    assert "expiry-time" not in line  # it has joined, and may come back after a reboot


@given(st.text(max_size=300))
def test_the_grammar_lets_nothing_else_through(text: str) -> None:
    try:
        read = request.parse(text)
    except Refused:
        return
    assert text == f"join slots={read.slots} memory={read.memory} id={read.id}"


@pytest.mark.parametrize("connection", ["", "1.2.3.4", "x 1 y 2", "1.2.3.4 1 2 3 4", "1.2.3.4\n 1 2 3"])
def test_a_source_address_is_sshds(connection: str) -> None:
    with pytest.raises(Refused):
        request.source(connection)


def test_an_audit_line_is_one_line(log: list[str]) -> None:
    audit.refused("1.2.3.4", "x", said="a\nb\x1b[31m\udcff")
    assert log == ["refused address=1.2.3.4 why='x' said='a\\nb\\x1b[31m\\udcff'"]


def _claims(state: str, number: int) -> None:
    for i in range(30):
        Ledger(state).claim(f"vaf-{i}", f"who-{number}", "a", 1.0)


def test_parallel_claims_have_one_winner_each_and_a_kill_harms_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_claims, args=(str(tmp_path), n)) for n in range(4)]
    for writer in writers:
        writer.start()
    os.kill(writers[0].pid or 0, signal.SIGKILL)
    for writer in writers:
        writer.join()
    ledger = Ledger(str(tmp_path))
    for i in range(30):
        winner = ledger.member(f"vaf-{i}")
        assert winner is not None
        assert ledger.claim(f"vaf-{i}", "late", "b", 2.0) == winner


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cluster = c\nbatch = slurm\nnetwrok = x\n", "line 3: unknown key 'netwrok', did you mean network"),
        ("cluster = c\nbatch = pbs\nnetwork = 10.0.0.0/8\n", "batch must be one of"),
        ("cluster = c\nbatch = slurm\nnetwork = 10.0.0.1/8\n", "host bits"),
        ("cluster = c\nbatch = slurm\nnetwork = 10.0.0.0/8\nwindow = soon\n", "soon"),
        ("cluster = c\ncluster = d\n", "line 2: cluster is set twice"),
        ("cluster = c\nbatch = slurm\nnetwork = 10.0.0.0/8\ngive = key\n", "'key' in give"),
        ("batch = slurm\nnetwork = 10.0.0.0/8\n", "missing"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "join.conf").write_text(text)
    with pytest.raises(Unusable) as e:
        settings.load(str(tmp_path / "join.conf"))
    assert why in str(e.value)


def test_settings(tmp_path: Path) -> None:
    text = "# c\ncluster = c # mine\nbatch = slurm\nnetwork = 10.0.0.0/8\n\nwindow = 5\ngive = a=/b c=/d\n"
    (tmp_path / "join.conf").write_text(text)
    site = settings.load(str(tmp_path / "join.conf"))
    assert (site.cluster, site.window, site.files) == ("c", 5, {"a": "/b", "c": "/d"})

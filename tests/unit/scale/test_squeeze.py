"""Batch VMs beside interactive ones: the real code over ssh (a fake) and a virsh that speaks libvirt's format."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.slurm.cluster import wait
from tests.unit.scale.farm import Farm, Killed, scaler
from vafnebula import errors
from vafnebula.one.vms import Listed
from vafnebula.scale import squeeze, virsh
from vafnebula.scale.loop import Scaler
from vafnebula.scale.policy import SqueezeSection
from vafnebula.scale.squeeze import Hands, Squeeze, givers, reduced, shares

FAKES = Path(__file__).parents[2] / "fakes"
SECTION = SqueezeSection(pools=("batch",), cpu=0.1)
USER = "oneadmin"


def vm(number: int, host: str = "node1", **changes: Any) -> Listed:
    facts: dict[str, Any] = {
        "id": number,
        "name": f"vm{number}",
        "owner": USER,
        "group": "oneadmin",
        "state": 3,
        "lcm": 3,
        "start": 0,
        "host": host,
        "vcpu": 1,
        "cpu": 1.0,
        "memory": 1024**3,
        "usage": (0.0, 0),
        "labels": {"VAF_POOL": "batch"},
        "error": "",
    }
    return Listed(**{**facts, **changes})


THIEF = {"labels": {"VAF_INTERACTIVE": "YES"}, "owner": "alice"}


class World:
    """The domains behind the fake virsh."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, domain: str) -> dict[str, Any]:
        with self.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return dict(json.load(file)[domain])

    def put(self, **domains: dict[str, Any]) -> None:
        world = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.path.write_text(json.dumps({**world, **{k.replace("_", "-"): v for k, v in domains.items()}}))

    def shares(self, number: int) -> int:
        return int(self[f"one-{number}"]["cpu_shares"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "ssh").symlink_to(FAKES / "ssh")
    (commands / "virsh").symlink_to(FAKES / "virsh")
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    monkeypatch.setenv("VIRSH_WORLD", str(tmp_path / "world.json"))
    made = World(tmp_path / "world.json")
    made.put(
        one_1={"cpu_shares": 1024, "memory": 1048576, "cpu": 3725.5},
        one_2={"cpu_shares": 2048, "memory": 2097152, "quota": 50000},
        one_9={"cpu_shares": 1024, "memory": 1048576},
    )
    return made


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Scaler]:
    one = scaler(Farm(), tmp_path / "state")
    yield one
    one.journal.close()


def keeper(made: Scaler, section: SqueezeSection = SECTION) -> Squeeze:
    return Squeeze(made, section, lambda: USER, lambda: {"node1": 1, "node2": 2})


def test_batch_gives_and_gets_back(world: World, made: Scaler) -> None:
    one = keeper(made)
    batch = [vm(1), vm(2, cpu=2.0)]
    one.step(batch)
    assert (world.shares(1), world.shares(2)) == (1024, 2048), "nobody interactive is there"
    one.step([*batch, vm(9, **THIEF)])
    assert (world.shares(1), world.shares(2), world.shares(9)) == (103, 205, 1024)
    one.step([*batch, vm(9, **THIEF)])
    assert (world.shares(1), world.shares(2)) == (103, 205), "once is enough"
    one.step(batch)
    assert (world.shares(1), world.shares(2)) == (1024, 2048)
    assert made.state.squeezed == {}


def test_memory_too(world: World, made: Scaler) -> None:
    one = keeper(made, SqueezeSection(pools=("batch",), cpu=0.5, memory=0.25))
    one.step([vm(1), vm(9, **THIEF)])
    assert world["one-1"]["memory"] == 262144
    one.step([vm(1)])
    assert world["one-1"]["memory"] == 1048576


@pytest.mark.parametrize(
    "other",
    [
        {"labels": {"VAF_INTERACTIVE": "YES"}, "owner": "mallory", "group": "users"},
        {"labels": {}},
        {**THIEF, "host": "node2"},
        {**THIEF, "lcm": 12},
        {**THIEF, "state": 8},
    ],
)
def test_who_may_not_take(world: World, made: Scaler, other: dict[str, Any]) -> None:
    keeper(made).step([vm(1), vm(9, **other)])
    assert world.shares(1) == 1024


@pytest.mark.parametrize("other", [{"labels": {"VAF_POOL": "precious"}}, {"owner": "mallory"}, {"labels": {}}])
def test_who_does_not_give(world: World, made: Scaler, other: dict[str, Any]) -> None:
    keeper(made).step([vm(1, **other), vm(9, **THIEF)])
    assert world.shares(1) == 1024


def test_restored_after_a_crash(world: World, made: Scaler, tmp_path: Path) -> None:
    keeper(made).step([vm(1), vm(9, **THIEF)])
    assert world.shares(1) == 103
    made.journal.close()
    again = scaler(Farm(), tmp_path / "state")
    keeper(again).step([vm(1)])
    assert world.shares(1) == 1024
    assert [r["kind"] for r in again.journal.replay()] == ["squeezed", "restored"]
    again.journal.close()


def test_killed_at_every_step(world: World, tmp_path: Path) -> None:
    """Between the journal and virsh, whichever comes first: what it had is never forgotten."""
    for step in range(6):
        world.put(one_1={"cpu_shares": 1024, "memory": 1048576})
        farm = Farm()
        farm.fuse.left = step
        for vms in ([vm(1), vm(9, **THIEF)], [vm(1), vm(9, **THIEF)], [vm(1)], [vm(1)]):
            made = scaler(farm, tmp_path / f"state{step}")
            with contextlib.suppress(Killed):
                keeper(made).step(vms)
            made.journal.close()
        assert world.shares(1) == 1024, step


def test_a_lost_journal_is_made_good(world: World, made: Scaler, tmp_path: Path) -> None:
    keeper(made).step([vm(1), vm(9, **THIEF)])
    made.journal.close()
    again = scaler(Farm(), tmp_path / "fresh")
    one = keeper(again)
    one.step([vm(1), vm(9, **THIEF)])
    assert world.shares(1) == 103
    one.step([vm(1)])
    assert world.shares(1) == 1024
    again.journal.close()


def test_a_vm_that_is_gone_is_forgotten(world: World, made: Scaler) -> None:
    one = keeper(made)
    one.step([vm(1), vm(9, **THIEF)])
    one.step([])
    assert made.state.squeezed == {}
    assert world.shares(1) == 103, "nobody touched it"


def test_a_vm_that_moves_gets_its_own_back_where_it_is(world: World, made: Scaler) -> None:
    one = keeper(made)
    one.step([vm(1), vm(9, **THIEF)])
    one.step([vm(1, lcm=4), vm(9, **THIEF)])
    assert world.shares(1) == 103, "not in the middle of a migration"
    one.step([vm(1, host="node2"), vm(9, **THIEF)])
    assert world.shares(1) == 1024


def test_a_node_that_cannot_be_reached_rests(world: World, made: Scaler, tmp_path: Path) -> None:
    answer = tmp_path / "bin/answer"
    answer.mkdir()
    for name, text in (("out", ""), ("err", "ssh: connect to host node1 port 22: No route to host"), ("code", "255")):
        (answer / name).write_text(text)
    one = keeper(made)
    for _ in range(3):
        one.step([vm(1), vm(9, **THIEF)])
    assert len(list((tmp_path / "bin/calls").iterdir())) == 1
    assert made.state.squeezed == {}


def test_the_monitor(world: World, made: Scaler) -> None:
    one = keeper(made)
    one.look([vm(1), vm(2), vm(9, **THIEF), vm(7, host="node2", labels={})])
    assert [(r.vm, r.role, r.usage.cpu, r.usage.cap, r.usage.shares) for r in one.rows] == [
        (1, "batch", 3725.5, 0.0, 1024),
        (2, "batch", 0.0, 0.5, 2048),
        (9, "interactive", 0.0, 0.0, 1024),
    ]


def test_what_nobody_remembers_is_given_back(world: World, made: Scaler, tmp_path: Path) -> None:
    """Another front-end squeezed, failed, and the thief left before we led."""
    keeper(made).step([vm(1), vm(2, cpu=2.0), vm(9, **THIEF)])
    made.journal.close()
    other = scaler(Farm(), tmp_path / "other front-end")
    world.put(one_3={"cpu_shares": 77, "memory": 1048576})
    keeper(other).look([vm(1), vm(2, cpu=2.0), vm(3)])
    assert (world.shares(1), world.shares(2)) == (1024, 2048)
    assert world.shares(3) == 77, "somebody else's decision"
    other.journal.close()


def test_the_monitor_looks_once_a_minute(world: World, made: Scaler, tmp_path: Path) -> None:
    one = keeper(made)
    for _ in range(5):
        one.look([vm(1)])
    assert len(list((tmp_path / "bin/calls").iterdir())) == 1


def test_hands_do_it_in_their_own_thread(world: World, made: Scaler) -> None:
    hands = Hands(keeper(made))
    hands.start()
    hands.hand([vm(1), vm(9, **THIEF)])
    wait(lambda: world.shares(1) == 103, "it is squeezed")
    hands.hand([vm(1)])
    wait(lambda: world.shares(1) == 1024, "it is given back")
    hands.stop()
    assert not hands.is_alive()


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a;b", "", "a b", "$(x)"])
def test_strange_hosts_are_refused(host: str) -> None:
    with pytest.raises(errors.BadArgument):
        virsh.tuned(host, "one-1")


@pytest.mark.parametrize(
    "said", ["", "Domain: 'one-1'\n", "Name:           one-1\nerror", "\0\xff", "Domain: 'x'\n cpu.time=x"]
)
def test_any_answer_is_survived(said: str) -> None:
    assert virsh.parse_usage(said) == []


@pytest.mark.parametrize(
    ("cpu", "version", "wanted"),
    [(1, 1, 1024), (0.1, 1, 103), (1, 2, 100), (0.1, 2, 10), (1000, 1, 262144), (1000, 2, 10000), (0, 1, 2), (0, 2, 1)],
)
def test_shares_are_opennebulas(cpu: float, version: int, wanted: int) -> None:
    """ceil(CPU * 1024) in 2..262144 for version 1, ceil(CPU * 100) in 1..10000 for version 2."""
    assert shares(cpu, version) == wanted


@given(st.integers(1, 262144), st.floats(0.001, 1), st.sampled_from([1, 2]))
def test_less_is_never_more_and_never_nothing(own: int, share: float, version: int) -> None:
    assert 1 <= reduced(own, share, version) <= own


WHO = st.sampled_from([{}, THIEF, {"owner": "bob"}, {"lcm": 12}, {"labels": {}}])


@given(st.lists(st.tuples(st.sampled_from(["node1", "node2", "node3"]), WHO), max_size=12))
def test_only_beside_and_only_those_who_consent(farm: list[tuple[str, dict[str, Any]]]) -> None:
    vms = [vm(n, host, **facts) for n, (host, facts) in enumerate(farm)]
    found = givers(vms, SECTION, USER)
    busy = {v.host for v in vms if squeeze.is_interactive(v, SECTION) and v.lcm == 3}
    assert {g.host for g in found} <= busy
    plain = {v.id for v, (_, facts) in zip(vms, farm, strict=True) if facts == {} and v.host in busy}
    assert {g.vm for g in found} == plain

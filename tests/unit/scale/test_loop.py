"""One cycle: what is journalled before what is done, and what is not done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.scale.farm import Farm, policy, scaler
from vafnebula import errors
from vafnebula.one.vms import Refused, Unanswered, Unsent
from vafnebula.scale import journal
from vafnebula.scale import state as states
from vafnebula.scale.batch import BatchView
from vafnebula.scale.cloud import Seen
from vafnebula.scale.loop import Scaler
from vafnebula.scale.model import Source, Start, Terminate
from vafnebula.scale.state import Bounds


class Moody(Farm):
    """A farm whose parts can be away or refuse."""

    trouble: errors.Error | None = None
    terminate_trouble: errors.Error | None = None
    drain_trouble: errors.Error | None = None
    leader = True
    batch_why = ""
    cloud_why = ""
    silent = False
    slow = 0.0

    def leads(self) -> bool:
        return self.leader

    def start(self, action: Start) -> int:
        self.pass_time(self.slow)
        if self.trouble is not None:
            if self.silent:
                super().start(action)
            raise self.trouble
        return super().start(action)

    def terminate(self, action: Terminate) -> str:
        if self.terminate_trouble is not None:
            raise self.terminate_trouble
        return super().terminate(action)

    def drain(self, node: str, reason: str) -> None:
        if self.drain_trouble is not None:
            raise self.drain_trouble
        super().drain(node, reason)

    def observe(self) -> BatchView:
        return BatchView((), (), False, self.batch_why) if self.batch_why else super().observe()

    def look(self) -> Seen:
        return Seen(Source(self.now, False, self.cloud_why)) if self.cloud_why else super().look()


@pytest.fixture
def farm() -> Moody:
    return Moody()


@pytest.fixture
def made(farm: Moody, tmp_path: Path) -> Iterator[Scaler]:
    one = scaler(farm, tmp_path)
    yield one
    one.journal.close()


def kinds(made: Scaler) -> list[str]:
    return [r["kind"] for r in made.journal.replay()]


def turn(made: Scaler, farm: Farm, times: int, seconds: float = 5) -> None:
    for _ in range(times):
        made.cycle()
        farm.pass_time(seconds)


def test_intents_come_before_acts_and_outcomes_after(made: Scaler, farm: Moody) -> None:
    farm.submit(2)
    made.cycle()
    lines = list(made.journal.replay())
    assert [r["kind"] for r in lines] == ["leading", "decided", "outcome", "outcome"]
    assert [a["verb"] for a in lines[1]["actions"]] == ["start", "start"]
    assert all(a["why"] for a in lines[1]["actions"])
    assert [(r["act"], r["happened"]) for r in lines[2:]] == [(a["act"], True) for a in lines[1]["actions"]]


def test_a_quiet_cycle_writes_nothing(made: Scaler, farm: Moody) -> None:
    turn(made, farm, 3)
    before = kinds(made)
    turn(made, farm, 20)
    assert kinds(made) == before


def test_the_journal_alone_gives_the_same_state(made: Scaler, farm: Moody) -> None:
    farm.submit(3)
    turn(made, farm, 20)
    made.scale("batch", Bounds(0, 3), "me")
    made.note("squeezed", vm=7, host="n", domain="one-7", shares=1024, memory=0)
    again = states.fold(made.journal.replay(), "x")
    now = {
        "now": made.state.memory.now,
        "clock": made.state.memory.clock,
    }  # a cycle in which only they move is not written
    assert replace(again, memory=replace(again.memory, **now)) == made.state
    made.journal.rotate(**made.state.checkpoint())
    assert states.fold(made.journal.replay(), "x") == made.state


def test_a_refused_start_counts_against_the_template(made: Scaler, farm: Moody) -> None:
    farm.submit(1)
    farm.trouble = Refused(method="one.template.instantiate", why="quota exceeded")
    report = made.cycle()
    assert list(report.failures.values()) == ["OpenNebula refuses one.template.instantiate: quota exceeded"]
    assert made.state.memory.requests == {}
    assert [b.failures for b in made.state.memory.breakers.values()] == [1]


def test_opennebula_away_is_nobodys_fault_and_not_asked_again(made: Scaler, farm: Moody) -> None:
    farm.submit(4)
    farm.trouble = Unsent(where="x", why="refused", advice="y")
    report = made.cycle()
    assert len(report.failures) == 4
    assert sum(text.startswith("not tried") for text in report.failures.values()) == 3
    assert made.state.memory.requests == {}
    assert all(b.failures == 0 for b in made.state.memory.breakers.values())
    farm.trouble = None
    made.cycle()
    assert len(farm.alive()) == 4


@pytest.mark.parametrize("acted", [True, False])
def test_a_start_without_answer_is_looked_for_not_repeated(made: Scaler, farm: Moody, acted: bool) -> None:
    farm.submit(1)
    farm.trouble, farm.silent = Unanswered(where="x", method="m", why="timeout", advice="y"), acted
    made.cycle()
    farm.trouble = None
    assert len(made.state.begun) == 1
    farm.pass_time(2)
    made.cycle()
    assert len(farm.calls) == int(acted), "it may still be on its way: nothing is called again"
    farm.pass_time(10)
    turn(made, farm, 2)
    assert len(farm.alive()) == 1
    assert made.state.begun == {}
    assert len(farm.calls) == 1


def test_a_blind_scaler_does_nothing(made: Scaler, farm: Moody) -> None:
    farm.submit(2, 10)
    turn(made, farm, 10)
    before = len(farm.alive()), kinds(made)
    farm.batch_why = "squeue timed out"
    turn(made, farm, 10)
    farm.batch_why, farm.cloud_why = "", "no answer"
    turn(made, farm, 10)
    assert (len(farm.alive()), [k for k in kinds(made) if k != "standby"]) == before


def test_what_takes_too_long_is_looked_at_again(made: Scaler, farm: Moody) -> None:
    """Starts so slow that the snapshot is old before all are done: the rest waits for the next look."""
    farm.submit(6, 1e6)
    farm.slow = 50.0
    failures = made.cycle().failures
    assert set(failures.values()) == {"not tried: what was seen is too old by now"}
    assert len(farm.alive()) == 3, "of 120 seconds"
    farm.slow = 0.0
    turn(made, farm, 3)
    assert len(farm.alive()) == 6


def test_standby_watches_and_takes_over(made: Scaler, farm: Moody) -> None:
    farm.leader = False
    farm.submit(2, 1e6)
    report = made.cycle()
    assert (report.leads, report.actions, farm.alive()) == (False, (), [])
    assert "another front-end" in report.standby
    assert kinds(made) == ["standby"]
    farm.leader = True
    made.cycle()
    assert len(farm.alive()) == 2
    farm.leader = False
    turn(made, farm, 5)
    assert kinds(made)[-1] == "standby"
    assert len(farm.alive()) == 2


def test_a_leader_that_cannot_be_known_is_not_assumed(made: Scaler, farm: Moody) -> None:
    def unknown() -> bool:
        raise Unsent(where="x", why="refused", advice="y")

    farm.leads = unknown  # type: ignore[method-assign]
    farm.submit(1)
    assert not made.cycle().leads
    assert farm.alive() == []


def test_a_dry_run_decides_and_writes_nothing(farm: Moody, tmp_path: Path) -> None:
    one = scaler(farm, tmp_path)
    one.dry_run = True
    farm.submit(3)
    for _ in range(3):
        assert len(one.cycle().actions) == 3
    assert farm.alive() == []
    assert kinds(one) == []
    one.journal.close()


def test_a_drain_that_fails_is_tried_again_and_nothing_is_ended(made: Scaler, farm: Moody) -> None:
    farm.submit(1, 5)
    turn(made, farm, 8)
    farm.drain_trouble = errors.CommandFailed(program="scontrol", code=1, why="down")
    turn(made, farm, 10)
    assert len(farm.alive()) == 1
    farm.drain_trouble = None
    turn(made, farm, 10)
    assert farm.alive() == []


def test_an_end_that_fails_is_tried_again(made: Scaler, farm: Moody) -> None:
    farm.submit(1, 5)
    farm.terminate_trouble = Refused(method="one.vm.action", why="wrong state")
    turn(made, farm, 20)
    assert len(farm.alive()) == 1
    farm.terminate_trouble = None
    turn(made, farm, 20)
    assert farm.alive() == []


def test_bounds_hold_and_never_exceed_the_policy(made: Scaler, farm: Moody) -> None:
    made.scale("batch", Bounds(2, 3), "me")
    turn(made, farm, 3)
    assert len(farm.alive()) == 2
    farm.submit(10, 1e6)
    turn(made, farm, 3)
    assert len(farm.alive()) == 3
    for bad in (Bounds(0, 7), Bounds(7, None), Bounds(-1, None), Bounds(3, 2)):
        with pytest.raises(errors.BadArgument):
            made.scale("batch", bad, "me")
    with pytest.raises(errors.BadArgument, match="known are batch"):
        made.scale("other", Bounds(1, 2), "me")
    made.policy = policy(1)
    assert made.state.policy(made.policy).pools[0].quota.vms == 1, "the file was changed below the caller's bound"


def test_a_journal_that_cannot_be_written_stops_everything(made: Scaler, farm: Moody) -> None:
    made.cycle()
    farm.submit(2)

    def full(kind: str, **facts: object) -> None:
        raise journal.NotWritten(path="x", why="No space left on device")

    made.journal.write = full  # type: ignore[method-assign]
    with pytest.raises(journal.NotWritten):
        made.cycle()
    assert farm.alive() == []


def test_hours_of_absence_are_no_mass_loss(farm: Moody, tmp_path: Path) -> None:
    """VMs that went while the scaler was stopped for long are forgotten, not mourned for an hour."""
    one = scaler(farm, tmp_path)
    farm.submit(6, 1e6)
    turn(one, farm, 10)
    one.journal.close()
    for machine in farm.machines.values():
        machine.over = True
    farm.work.clear()
    farm.now += 8 * 3600
    farm.submit(2, 1e6)
    one = scaler(farm, tmp_path)
    turn(one, farm, 2)
    assert len(farm.alive()) == 2
    one.journal.close()

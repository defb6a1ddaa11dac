"""Killed anywhere, started again: no VM is forgotten, none is made twice, no job is lost."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.scale.farm import Farm, Killed, scaler
from vafnebula.scale.loop import Scaler

RUNS = 1000


@pytest.fixture
def memory_dir() -> Iterator[Path]:
    """A directory in memory: fsync is real and costs nothing."""
    shm = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    yield path
    shutil.rmtree(path)


def check(farm: Farm, made: Scaler) -> None:
    """After the storm: what the farm has is what the scaler knows, each once, and every job was done in peace."""
    made_of = Counter(m.action.request for m in farm.machines.values())
    assert [request for request, times in made_of.items() if times > 1] == [], "a request became two VMs"
    doubles = [request for request, times in Counter(farm.calls).items() if times > 1]
    assert doubles == [], "a request was sent twice"
    alive = {m.id for m in farm.alive()}
    assert alive <= set(made.state.memory.vms), "a VM that nobody will ever end"
    assert len(farm.alive()) <= 6
    assert [w.id for w in farm.work if w.killed] == []


def survive(farm: Farm, directory: Path, seconds: float, limit: int) -> Scaler:
    """Cycle, restart after every death, until `seconds` have passed."""
    made = scaler(farm, directory, limit=limit)
    end = farm.now + seconds
    while farm.now < end:
        try:
            made.cycle()
        except Killed:
            made.journal.close()
            made = scaler(farm, directory, limit=limit)
        farm.pass_time(3)
        assert len(farm.alive()) <= 6
    return made


def one_run(seed: int, directory: Path) -> int:
    dice = random.Random(seed)
    farm = Farm(silences=dice if seed % 2 else None)
    farm.submit(dice.randint(1, 5), dice.choice([5.0, 40.0]))
    farm.fuse.left = dice.randint(0, 40)
    made = survive(farm, directory, 45, dice.choice([300, 3000, 10**6]))
    farm.fuse.left = None if farm.fuse.left is None else dice.randint(0, 25)
    made.journal.close()
    made = survive(farm, directory, 40, 10**6)
    deaths = farm.fuse.left is None
    farm.fuse.left = None
    for _ in range(40):
        if not farm.alive() and not [w for w in farm.work if not w.done]:
            break
        made.cycle()
        farm.pass_time(10)
    check(farm, made)
    assert all(w.done for w in farm.work)
    assert farm.alive() == []
    made.journal.close()
    return deaths


def test_a_thousand_deaths(memory_dir: Path) -> None:
    died = 0
    for seed in range(RUNS):
        directory = memory_dir / str(seed)
        try:
            died += one_run(seed, directory)
        except BaseException:
            print(f"seed {seed}")
            raise
        shutil.rmtree(directory)
    assert died > RUNS / 2, "the fuse hardly ever burnt: this would prove nothing"


def test_death_at_every_single_step(memory_dir: Path) -> None:
    """One start, one drain, one end: every place where it can die, in turn."""
    farm = Farm()
    farm.submit(1, 10.0)
    made = scaler(farm, memory_dir / "whole")
    for _ in range(30):
        made.cycle()
        farm.pass_time(5)
    made.journal.close()
    assert farm.alive() == []
    steps = farm.fuse.passed
    assert steps > 20
    for step in range(steps):
        farm = Farm()
        farm.submit(1, 10.0)
        farm.fuse.left = step
        made = survive(farm, memory_dir / str(step), 300, 10**6)
        assert farm.fuse.left is None, "it died"
        check(farm, made)
        assert farm.alive() == [], step
        assert all(w.done for w in farm.work), step
        assert len(farm.machines) == 1, f"step {step}: one VM was enough"
        made.journal.close()

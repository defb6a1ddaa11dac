from __future__ import annotations

from pathlib import Path

from hypothesis import given

from tests.unit.scale.batch.test_slurm import chopped, said
from tests.unit.scale.batch.test_torque import Commands
from vafnebula.scale.batch import BatchView, htcondor
from vafnebula.scale.model import Shape
from vafnebula.units import GIB, MIB

DATA = Path(__file__).parents[3] / "data/batch/htcondor-23"
QUEUE, NODES = ((DATA / f).read_bytes() for f in ("condor_q.json", "condor_status.json"))
VIEW = htcondor.parse(QUEUE, NODES)
JOBS = {j.id: j for j in VIEW.jobs}


def test_all_schedds_and_no_local_jobs() -> None:
    assert (VIEW.complete, VIEW.why) == (True, "")
    assert {k: j.state for k, j in JOBS.items()} == {
        "41.0": "running", "41.1": "waiting", "42.0": "waiting", "43.0": "held", "7.3": "waiting",
    }  # fmt: skip
    assert JOBS["41.0"].hosts == ("vaf-3.site.org",)
    assert JOBS["41.1"].shape == Shape(2, 2 * GIB)
    assert "PeriodicHold" in JOBS["43.0"].why


def test_expressions_are_not_numbers() -> None:
    assert JOBS["42.0"].shape == Shape(1, 0, 1, frozenset({"a100", "ssd"}))


def test_a_partitionable_slot_is_idle_while_its_children_work() -> None:
    nodes = {n.name: n for n in VIEW.nodes}
    three = nodes["vaf-3.site.org"]
    assert (three.jobs, three.vm, three.state) == (1, 3, "up")
    assert (three.total.cores, three.free.cores, three.free.memory) == (4, 2, 5952 * MIB)
    alone, _ = htcondor.parse_nodes(b"[" + NODES.split(b"\n,\n")[0].lstrip(b"[\n") + b"]")
    assert alone[0].jobs == 1  # also when the child's ad is missing


def test_drained_and_static_slots() -> None:
    nodes = {n.name: n for n in VIEW.nodes}
    four, one = nodes["vaf-4.site.org"], nodes["node01.site.org"]
    assert (four.draining, four.jobs, four.drained_by_us) == (True, 0, True)
    assert (one.jobs, one.total.cores, one.free.cores, one.vm) == (1, 2, 1, None)
    assert one.total.features == {"physical"}


def test_nothing_printed_is_no_jobs() -> None:
    assert htcondor.parse(b"", b"") == BatchView()


def test_half_an_answer_is_not_a_full_one() -> None:
    assert not htcondor.parse(QUEUE[:-5], NODES).complete
    assert not htcondor.parse(QUEUE, NODES[:-5]).complete
    assert not htcondor.parse(b"Error: Couldn't contact the condor_collector", NODES).complete


@given(chopped(QUEUE), chopped(NODES))
def test_any_bytes_are_a_view(queue: bytes, nodes: bytes) -> None:
    view = htcondor.parse(queue, nodes)
    assert view.complete == (not view.why)


def test_commands() -> None:
    run = Commands(condor_q=said(0, QUEUE), condor_status=said(0, NODES))
    batch = htcondor.HtCondor({"pool": "head"}, run)
    assert batch.observe() == VIEW
    run.told.clear()
    batch.drain("vaf-4.site.org", "vafnebula: idle")
    batch.undrain("vaf-4.site.org")
    batch.remove('vaf-4.site.org"\nRequirements = true')
    drain, undrain, (argv, ad) = run.told
    assert drain[:5] == ["condor_drain", "-pool", "head", "-graceful", "-reason"]
    assert drain[-2:] == [htcondor.UNCLAIMED, "vaf-4.site.org"]
    assert undrain == ["condor_drain", "-pool", "head", "-cancel", "vaf-4.site.org"]
    assert argv[-2:] == ["INVALIDATE_STARTD_ADS", "-"]
    assert ad.count(b"Requirements = TARGET") == 1
    assert len(ad.splitlines()) == 3


def test_a_collector_that_is_away_makes_the_view_incomplete() -> None:
    away = said(1, err=b"Error: Couldn't contact the condor_collector on head")
    assert not htcondor.HtCondor({}, Commands(condor_status=away)).observe().complete

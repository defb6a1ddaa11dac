from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scale.test_policy import GOOD
from tests.unit.scale.worlds import SHAPES, SMALL
from vafnebula.cli.scale import scale
from vafnebula.scale import plot, simulate, trace
from vafnebula.scale.model import Policy, Pool, Quota, Shape
from vafnebula.scale.threshold import Threshold
from vafnebula.scale.world import Faults, Work, World
from vafnebula.units import GIB

POLICY = Policy((Pool("w", (SMALL,), quota=Quota(10)),))
TRACE = """\
submit,seconds,cores,memory,count,gpus,nodes,features,queue
600,900,1,1GiB,40,,,,
9000,60,8,16GiB,,1,,a100 ssd,gpu
"""


def test_a_trace_in_csv() -> None:
    works = trace.parse(TRACE)
    assert len(works) == 41
    assert (works[0].submitted, works[0].seconds, works[0].shape) == (600.0, 900.0, Shape(1, GIB))
    assert works[40].shape == Shape(8, 16 * GIB, 1, frozenset({"a100", "ssd"}), frozenset({"gpu"}))


def test_a_trace_in_swf() -> None:
    works = trace.parse(
        "; Version: 2.2\n  1 0 5 60 8 -1 -1 8 90 1048576 1 1 1 1 1 1 -1 -1\n2 9 0 -1 1 -1 -1 1" + " -1" * 10
    )
    assert [(w.id, w.submitted, w.seconds, w.shape) for w in works] == [("1", 0.0, 60.0, Shape(8, 8 * GIB))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("submit,secs\n1,2\n", "trace:1: unknown column 'secs'"),
        ("submit,cores\n1,2\n", "trace:1: no columns submit and seconds"),
        ("submit,seconds\n1,x\n", "trace:2: could not convert"),
        ("submit,seconds,memory\n1,2,8\n", "trace:2: 1 cores, 8, 0 GPUs are no size"),
        ("submit,seconds,count\n1,2,9999999\n", "trace:2: count 9999999 is not"),
        ("; swf\n1 2 3\n", "trace:2: it has no 18 numbers"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, says: str) -> None:
    with pytest.raises(trace.BadTrace, match=says):
        trace.parse(text)


@given(st.text(max_size=200))
def test_any_text_is_a_trace_or_one_clear_error(text: str) -> None:
    try:
        trace.parse(text)
    except trace.BadTrace as e:
        assert str(e).startswith("trace:")


def test_the_threshold_policy_is_as_it_was_described() -> None:
    """Jobs wait 40 s until they count, 15 s until they are seen; a full quota is half a quota for ten minutes."""
    world = World(POLICY)
    world.submit_all(Work(f"j{i}", SHAPES[0], 10.0, 60.0) for i in range(4))
    simulate.run(world, Threshold(POLICY), 300.0)
    assert 50.0 <= world.launches[0][0] <= 75.0
    four = Policy((Pool("w", (SMALL,), quota=Quota(4)),))
    world = World(four)
    world.submit_all(Work(f"a{i}", SHAPES[0], 0.0, 2000.0) for i in range(8))
    world.submit_all(Work(f"b{i}", SHAPES[0], 200.0, 2000.0) for i in range(8))
    simulate.run(world, Threshold(four), 1000.0)
    times = [at for at, _ in world.launches]
    assert len(times) == 4
    assert times[2] > 600.0


def test_the_threshold_policy_kills_and_ours_does_not() -> None:
    """An image that boots for longer than the deploy time: its VMs are killed just before they join, for ever."""
    results = simulate.compare(
        POLICY,
        [Work(f"j{i}", SHAPES[0], 0.0, 60.0) for i in range(8)],
        Faults(boot=(700.0, 700.0)),
        seed=0,
        until=9000.0,
    )
    assert results["threshold"].waits == []
    assert len(results["vafnebula"].waits) == 8
    assert results["vafnebula"].launches < results["threshold"].launches


def test_the_same_seed_is_the_same_world() -> None:
    jobs = trace.parse(TRACE)
    faults = Faults(life=2000.0, refuse=0.1)
    first, second = (simulate.compare(POLICY, jobs, faults, seed=7, until=20000.0) for _ in range(2))
    assert first == second
    assert all(w.started is None for w in jobs)  # what was given is not changed


def test_the_picture_is_xml_with_a_part_per_policy() -> None:
    results = simulate.compare(POLICY, trace.parse(TRACE), Faults(), seed=0, until=20000.0)
    tree = ElementTree.fromstring(plot.svg(results))
    assert len(tree.findall("{http://www.w3.org/2000/svg}svg")) == 2
    assert "jobs killed by ending a VM" in plot.text(results)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(GOOD)
    (tmp_path / "trace.csv").write_text(TRACE)
    argv = ["simulate", "--policy", str(tmp_path / "policy.yaml"), str(tmp_path / "trace.csv")]
    done = CliRunner().invoke(scale, [*argv, "--svg", str(tmp_path / "x.svg")])
    assert done.exit_code == 0
    assert "VM-hours" in done.output
    assert (tmp_path / "x.svg").read_text().startswith("<svg")
    wrong = CliRunner().invoke(scale, [*argv, "--boot", "9-x"])
    assert wrong.exit_code == 2
    assert "no range of seconds" in wrong.output

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.scale.farm import Farm, scaler
from vafnebula.scale import lastlook
from vafnebula.scale.batch import BatchView
from vafnebula.scale.model import Job, Node, Shape, Terminate

END = Terminate(7, "vaf-7", "w", "r", True, "it did not join within 10 min")
ONE = Shape(1)


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (BatchView(), ""),
        (BatchView((), (Node("vaf-8", ONE, ONE),)), ""),
        (BatchView((), (Node("vaf-7", ONE, ONE),)), "its node is up by now"),
        (BatchView((), (Node("vaf-7.site.org", ONE, ONE),)), "its node is up by now"),
        (BatchView((), (Node("elsewhere", ONE, ONE, vm=7),)), "its node is up by now"),
        (BatchView((), (Node("vaf-7", ONE, ONE, "down"),)), ""),
        (BatchView((), (Node("vaf-7", ONE, ONE, "down", jobs=1),)), "1 jobs are on its node by now"),
        (BatchView((), (Node("vaf-7", ONE, ONE, draining=True),)), ""),
        (BatchView((Job("j", ONE, "running", hosts=("vaf-7",)),), ()), "a job is on its node by now"),
        (BatchView(complete=False, why="cut"), "the batch system gives no full answer: cut"),
    ],
)
def test_what_is_found_just_before(view: BatchView, why: str) -> None:
    assert lastlook.came(view, END) == why


def test_the_loop_looks_before_it_ends_what_it_could_not_drain(tmp_path: Path) -> None:
    """A job runs on a VM whose time was up when the snapshot was taken."""
    farm = Farm()
    made = scaler(farm, tmp_path)
    farm.submit(1, 600.0)
    for _ in range(10):
        made.cycle()
        farm.pass_time(5)
    assert farm.work[0].host == 1
    late = Terminate(1, "vaf-1", "batch", "r", True, "late")
    assert made._act([late], farm.now) == {"terminate:1": "1 jobs are on its node by now"}
    assert not farm.machines[1].over
    made.journal.close()

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from vafnebula.bench import scale, scaletext
from vafnebula.cli.bench import bench
from vafnebula.scale.batch import slurm, torque

RESULT = Path(__file__).parents[3] / "docs/benchmarks/scale.json"
IDS = {
    "reaction-p50", "reaction-p95", "decide-10k", "decide-growth", "cycle-slurm", "cycle-torque", "broken-image",
    "impossible-job", "killed-jobs",
}  # fmt: skip


def test_the_farm_is_read_back_from_both_texts() -> None:
    """What is measured is understood in full, or it would be quick for the wrong reason."""
    farm = scale.farm(50, 10)
    views = [
        slurm.Slurm({}, scale.Commands(scaletext.slurm(farm))).observe(),
        torque.Torque({}, scale.Commands(scaletext.torque(farm))).observe(),
    ]
    for view in views:
        assert (view.complete, len(view.jobs), len(view.nodes)) == (True, 50, 10)
        assert [(j.id.split(".")[0], j.shape.cores, j.shape.memory, j.shape.features) for j in view.jobs] == [
            (j.id, j.shape.cores, j.shape.memory, j.shape.features) for j in farm.jobs
        ]
        assert [n.free.cores for n in view.nodes] == [n.free.cores for n in farm.nodes]


def test_the_rough_site_is_rough() -> None:
    world = scale.rough(2.0)
    assert len(world.events) > 50
    assert world.faults.partial


def test_the_bell_is_heard() -> None:
    records = scale.reaction(2, lambda _: None)
    ours = next(r for r in records if r.id == "reaction-p95" and r.goal is not None)
    assert 0.5 <= ours.median < 90.0  # the debounce at least, and not the limit of waiting


def test_the_committed_result_has_all_measurements() -> None:
    done = CliRunner().invoke(bench, ["table", str(RESULT)])
    assert done.exit_code == 0, done.output
    assert {r["id"] for r in json.loads(RESULT.read_text())} == IDS

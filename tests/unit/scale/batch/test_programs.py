"""The adapters with real programs: argument lists, standard input, exit codes and environment as in life."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.batch import DIALECTS
from tests.fakes.batch.program import Filed, install, read
from vafnebula import errors
from vafnebula.scale import batch
from vafnebula.scale.model import Job, Node, Shape
from vafnebula.units import GIB

ONE, FOUR = Shape(1, GIB), Shape(4, 8 * GIB)


@pytest.mark.parametrize("system", sorted(DIALECTS))
def test_look_drain_undrain_remove(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job("1", ONE, "running", hosts=("vaf-1",)), Job("2", ONE), Job("3", ONE, "held")]
    nodes = [Node("vaf-1", FOUR, Shape(3, 7 * GIB), jobs=1), Node("vaf-2", FOUR, FOUR)]
    install(tmp_path, Filed(system, jobs, nodes))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    adapter = batch.make(system)

    view = adapter.observe()
    assert (view.complete, view.why) == (True, "")
    assert [j.state for j in view.jobs] == ["running", "waiting", "held"]
    assert [(n.state, n.draining, n.jobs, n.free.cores) for n in view.nodes] == [
        ("up", False, 1, 3),
        ("up", False, 0, 4),
    ]

    two = view.nodes[1].name
    adapter.drain(two, "vafnebula: idle for 10 min; $(touch x) 'quoted' \"twice\"")
    drained = adapter.observe().nodes[1]
    assert (drained.draining, drained.drained_by_us) == (True, True)
    assert "$(touch x)" in read(tmp_path).hosts[1].note
    adapter.undrain(two)
    assert not adapter.observe().nodes[1].draining
    adapter.remove(two)
    adapter.remove(two)  # a node that does not exist is no error
    assert [n.name for n in read(tmp_path).hosts] == ["vaf-1"]
    with pytest.raises(errors.CommandFailed):
        adapter.drain("vaf-9", "vafnebula: idle")


@pytest.mark.parametrize("system", sorted(DIALECTS))
def test_commands_that_are_not_there(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    view = batch.make(system).observe()
    assert not view.complete
    assert "No such file" in view.why


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(errors.BadArgument, match="slurm, torque, openpbs, htcondor"):
        batch.make("sge")

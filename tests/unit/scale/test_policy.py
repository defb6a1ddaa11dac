from __future__ import annotations

from dataclasses import MISSING, fields, replace
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula.scale import policy
from vafnebula.scale.model import Policy, Quota, Shape, Timers
from vafnebula.scale.policy import PoolSection
from vafnebula.units import GIB

GOOD = """\
batch:
  system: slurm
limits: {vms: 40, cores: 160, memory: 512GiB}
timers: {keep_alive: 10m}
pools:
  workers:
    min_vms: 0
    warm_vms: 1
    limits: {vms: 20}
    timers: {job_alive: 90s}
    templates:
      - {name: small, id: 12, cores: 4, memory: 8GiB}
      - {name: gpu, id: 13, cores: 8, memory: 32GiB, gpus: 1, features: [a100], queues: [gpu]}
"""


def test_a_file_becomes_a_policy() -> None:
    made = policy.parse(GOOD).policy()
    assert made.quota == Quota(40, 160, 512 * GIB)
    pool = made.pools[0]
    assert (pool.name, pool.warm_vms, pool.quota) == ("workers", 1, Quota(20))
    assert pool.timers == Timers(keep_alive=600.0, job_alive=90.0)
    assert pool.templates[1].shape == Shape(8, 32 * GIB, 1, frozenset({"a100"}), frozenset({"gpu"}))


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        ("cores: 4", "coers: 4", "policy:12: unknown key 'pools.workers.templates.0.coers'; did you mean 'cores'?"),
        ("warm_vms", "warm", "policy:8: unknown key 'pools.workers.warm'; did you mean 'warm_vms'?"),
        ("8GiB", "8", "policy:12: pools.workers.templates.0.memory: a size is a whole number"),
        ("limits: {vms: 20}", "limits: {cores: 4}", "limits.vms is missing"),
        ("min_vms: 0", "min_vms: 21", "min_vms 21 is above limits.vms 20"),
        ("keep_alive: 10m", "keep_alive: 10", "policy:4: timers.keep_alive: a duration is a number and s, m, h or d"),
        ("name: gpu", "name: small", "two templates have the same name"),
        ("system: slurm", "system: sge", "policy:2: batch.system"),
        ("pools:", "pools: [", "policy:"),
        ("pools:", "pools:\n  workers: {}", "policy:"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(good: str, bad: str, says: str) -> None:
    with pytest.raises(policy.BadPolicy) as caught:
        policy.parse(GOOD.replace(good, bad, 1))
    assert says in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_one_clear_error(text: str) -> None:
    with pytest.raises(policy.BadPolicy):
        policy.parse(text)


def test_the_policy_in_the_docs_is_one_and_its_timers_are_the_defaults() -> None:
    text = (Path(__file__).parents[3] / "docs/scaling.md").read_text()
    shown = text[text.index("    batch:\n      system: slurm ") : text.index("\n\n`features` are what")]
    made = policy.parse(dedent(shown))
    assert made.timers.over(Timers()) == Timers()
    assert set(PoolSection.model_fields) == {"limits", "min_vms", "warm_vms", "templates", "timers"}
    assert made.pools["workers"].templates[1].features == ("a100",)


def test_the_tuning_is_the_policys_own() -> None:
    assert policy.parse(GOOD).policy() == replace(
        policy.parse(GOOD).policy(),
        **{f.name: f.default for f in fields(Policy) if f.default is not MISSING and f.name != "quota"},
    )

"""What docs/scaling.md shows can be used as it stands, and names what there is."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from vafnebula.cli.scale import scale
from vafnebula.scale import policy, tail
from vafnebula.scale.policy import ServiceSection, SqueezeSection

CHECKOUT = Path(__file__).parents[3]
TEXT = (CHECKOUT / "docs/scaling.md").read_text()
BLOCKS = [textwrap.dedent(b) for b in re.findall(r"(?:^ {4,}.*\n|^\n(?= {4}))+", TEXT, re.MULTILINE)]
BASE = """
batch: {system: slurm}
pools: {workers: {limits: {vms: 2}, templates: [{name: s, id: 1, cores: 1, memory: 1GiB}]}}
"""


def block(start: str, containing: str = "") -> str:
    return next(b.strip("\n") for b in BLOCKS if b.lstrip("\n").startswith(start) and containing in b)


def test_the_first_policy_is_one() -> None:
    assert policy.parse(block("batch:")).references() == {("vaf-worker",)}


@pytest.mark.parametrize("containing", ["watch", "token_file"])
def test_the_service_examples_are_valid(containing: str) -> None:
    policy.parse(BASE + block("service:", containing))


def test_defaults_are_the_defaults() -> None:
    shown = policy.parse(BASE + block("service:", "token_file")).service
    given = {"listen", "token_file"}
    assert shown.model_dump(exclude=given) == ServiceSection().model_dump(exclude=given)
    assert set(ServiceSection.model_fields) == set(re.findall(r"^  (\w+):", block("service:", "token_file"), re.M)) | {
        "watch"
    }


def test_squeeze_is_complete() -> None:
    shown = policy.parse(BASE + block("squeeze:")).squeeze
    assert shown is not None
    assert set(re.findall(r"^  (\w+):", block("squeeze:"), re.M)) == set(SqueezeSection.model_fields)
    assert (shown.cpu, shown.memory) == (0.1, 1.0)


def test_every_kind_of_log_and_every_command_is_named() -> None:
    for kind in tail.PATTERNS:
        assert f"kind: {kind}," in TEXT
    for command in scale.commands:
        assert f"scale {command}" in TEXT, command


@pytest.mark.parametrize("path", re.findall(r"`((?:share|hooks|vafnebula)/[\w./-]+)`", TEXT))
def test_files_that_are_named_exist(path: str) -> None:
    assert (CHECKOUT / path).exists()

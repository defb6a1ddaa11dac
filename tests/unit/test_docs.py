"""What docs/ promises exists, and what exists is in docs/."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import click
import pytest

from vafnebula import config, units
from vafnebula.access.settings import Settings as Access
from vafnebula.cli import main
from vafnebula.config import FRONTEND, OPTIONS
from vafnebula.context import start
from vafnebula.join.settings import Settings as Join

STORAGE = (Path(__file__).parents[2] / "docs/storage.md").read_text()


def documented() -> dict[str, str]:
    rows = [line.split("|") for line in STORAGE.splitlines() if line.startswith("| `") and line.count("|") == 4]
    return {row[1].strip(" `"): row[2].strip(" `") for row in rows if row[1].strip(" `") in {**OPTIONS, **FRONTEND}}


def default(key: str) -> object:
    site = config.Site()
    value = getattr(site.default if key in OPTIONS else site, key)
    if key == "cow_chunk":
        return value // units.KIB
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def test_every_setting_is_documented() -> None:
    assert set(documented()) == {*OPTIONS, *FRONTEND}


@pytest.mark.parametrize("key", sorted({*OPTIONS, *FRONTEND}))
def test_the_documented_default_is_the_default(key: str) -> None:
    assert documented()[key] == str(default(key))


def test_the_example_is_a_valid_site_file() -> None:
    blocks = [b for b in STORAGE.split("\n\n") if b.lstrip().startswith("[")]
    example = "\n".join(line.strip() for b in blocks for line in b.splitlines())
    assert config.parse(example).storage(200).mode == "thick"


DOCS = sorted([*(Path(__file__).parents[2] / "docs").glob("*.md"), Path(__file__).parents[2] / "README.md"])


@pytest.mark.parametrize(("file", "kind"), [("access.md", Access), ("clusters.md", Join)])
def test_every_key_of_a_file_is_documented_with_its_default(file: str, kind: Any) -> None:
    text = (Path(__file__).parents[2] / "docs" / file).read_text()
    rows = [
        [re.findall("`([^`]*)`", cell) for cell in line.split("|")[1:3]] for line in text.splitlines() if "| `" in line
    ]
    said = {key: defaults[i] if i < len(defaults) else "" for keys, defaults in rows for i, key in enumerate(keys)}
    for field in dataclasses.fields(kind):
        default = "" if field.default is dataclasses.MISSING else str(field.default)
        assert said.get(field.name) == default, field.name


@pytest.mark.parametrize("path", DOCS, ids=[p.name for p in DOCS])
def test_links_lead_to_something(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCS, ids=[p.name for p in DOCS])
def test_commands_exist(path: Path) -> None:
    """Every `vafnebula x y --option` of the documents is one that click knows."""
    for line in path.read_text().splitlines():
        for words in re.findall(r"vafnebula((?: [a-z]+)+(?: [^`#|]*)?)", line):
            command, given = walk(main, words.split())
            known = {option for parameter in command.params for option in parameter.opts}
            for option in (w.split("=")[0].strip(",;:()") for w in given if w.startswith("--")):
                assert option in {*known, "--help"}, f"{words}: {option}"


def walk(command: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words if not isinstance(command, click.Group) else []


@pytest.mark.parametrize("kind", start.SELF_JOINING)
def test_every_file_of_a_cluster_is_in_the_documents(kind: str) -> None:
    text = (Path(__file__).parents[2] / "docs/clusters.md").read_text()
    assert kind in text
    for file in (start.CHECKOUT / kind).iterdir():
        assert file.name in text or file.name.endswith(".j2"), file

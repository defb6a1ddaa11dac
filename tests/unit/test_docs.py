"""What docs/ promises exists, and what exists is in docs/."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from typing import Any

import click
import pytest

from vafnebula import config, errors, units
from vafnebula.access.settings import Settings as Access
from vafnebula.cli import main
from vafnebula.config import FRONTEND, OPTIONS
from vafnebula.context import start
from vafnebula.join.settings import Settings as Join
from vafnebula.node.isolation import settings as isolation

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


def test_the_site_file_of_an_installation_is_valid_and_drops_no_frame() -> None:
    path = Path(__file__).parents[2] / "share/remotes/vafnebula.conf"
    assert config.parse(path.read_text()) == config.Site()
    assert isolation.load(str(path)).mode == "observe"
    uncommented = re.sub(r"(?m)^#(?=\[|[a-z_]+ = )", "", path.read_text())
    assert config.parse(uncommented).storage(200).mode == "thick"


# --- troubleshooting, actions, man pages

DOCS = Path(__file__).parents[2] / "docs"
FSCK = DOCS.parent / "vafnebula/admin/fsck.py"


def sentences(cls: type[errors.Error] = errors.Error) -> list[type[errors.Error]]:
    """The error classes of errors.py that are raised: those without children."""
    children = [c for c in cls.__subclasses__() if c.__module__ == errors.__name__]
    return [s for c in children for s in sentences(c)] if children else [cls]


@pytest.mark.parametrize("cls", sentences(), ids=lambda c: c.__name__)
def test_every_sentence_has_its_entry_in_troubleshooting(cls: type[errors.Error]) -> None:
    heading = "### " + re.sub(r"{[a-z]+(![rs])?}", "…", cls.sentence)
    _, found, rest = (DOCS / "troubleshooting.md").read_text().partition(f"\n{heading}\n")
    assert found, f"docs/troubleshooting.md lacks: {heading}"
    assert "\n**Do:** " in rest.partition("\n### ")[0]


def test_every_action_of_the_driver_is_in_the_table_of_buttons() -> None:
    table = (DOCS / "actions.md").read_text()
    actions = [p.name for p in (DOCS.parent / "mads/tm/fs_lvm_snap").iterdir()]
    quiet = {"monitor", "monitor_ds", "activate"}  # nobody presses a button for them
    assert [a for a in actions if a not in quiet and f"`{a}`" not in table] == []


def test_the_kinds_of_findings_are_explained() -> None:
    kinds = set(re.findall(r'Finding\(\s*view\.host, "([a-z -]+)"|Finding\(host, "([a-z -]+)"', FSCK.read_text()))
    text = (DOCS / "operations.md").read_text()
    assert kinds
    assert [k for pair in kinds for k in pair if k and f"| `{k}` |" not in text] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning:click")  # click-man calls what click is about to rename
def test_the_man_pages_are_those_of_the_command_line(tmp_path: Path) -> None:
    """When this fails: .venv/bin/python docs/man/make.py"""
    spec = importlib.util.spec_from_file_location("make", DOCS / "man/make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.write(tmp_path)
    there = {p.name: p.read_text() for p in (DOCS / "man").glob("*.1")}
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == there


# --- pages

PAGES = sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"])


@pytest.mark.parametrize(("file", "kind"), [("access.md", Access), ("clusters.md", Join)])
def test_every_key_of_a_file_is_documented_with_its_default(file: str, kind: Any) -> None:
    text = (DOCS / file).read_text()
    rows = [
        [re.findall("`([^`]*)`", cell) for cell in line.split("|")[1:3]] for line in text.splitlines() if "| `" in line
    ]
    said = {key: defaults[i] if i < len(defaults) else "" for keys, defaults in rows for i, key in enumerate(keys)}
    for field in dataclasses.fields(kind):
        default = "" if field.default is dataclasses.MISSING else str(field.default)
        assert said.get(field.name) == default, field.name


@pytest.mark.parametrize("path", PAGES, ids=[p.name for p in PAGES])
def test_links_lead_to_something(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=[p.name for p in PAGES])
def test_commands_exist(path: Path) -> None:
    """Every `vafnebula x y --option` of the documents is one that click knows."""
    for line in path.read_text().splitlines():
        for words in re.findall(r"vafnebula((?: [a-z]+)+(?: [^`#|]*)?)", line):
            command, given = walk(main, words.split())
            known = {option for parameter in command.params for option in parameter.opts}
            for option in (w.split("=")[0].strip(",;:()") for w in given if w.startswith("--")):
                assert option in {*known, "--help"}, f"{words}: {option}"


def walk(command: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    while isinstance(command, click.Group) and words:
        below = command.get_command(click.Context(command), words[0])
        if below is None:
            break
        command, words = below, words[1:]
    return command, words if not isinstance(command, click.Group) else []


@pytest.mark.parametrize("kind", start.SELF_JOINING)
def test_every_file_of_a_cluster_is_in_the_documents(kind: str) -> None:
    text = (DOCS / "clusters.md").read_text()
    assert kind in text
    for file in (start.CHECKOUT / kind).iterdir():
        assert file.name in text or file.name.endswith(".j2"), file

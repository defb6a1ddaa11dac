"""What docs/ promises exists, and what exists is in docs/."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from vafnebula import config, errors, units
from vafnebula.config import FRONTEND, OPTIONS

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


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


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

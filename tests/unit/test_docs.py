"""What docs/ promises exists, and what exists is in docs/."""

from __future__ import annotations

from pathlib import Path

import pytest

from vafnebula import config, units
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

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import config, errors
from vafnebula.model import Settings

GOOD: dict[str, tuple[str, Any]] = {
    "mode": ("thick", "thick"),
    "cow_chunk": ("128", 128 * 1024),
    "cow_percent": ("20", 20),
    "pool_limit": ("80", 80),
    "metadata_limit": ("80", 80),
    "overcommit": ("150", 150),
    "cache_min_age": ("0", 0),
    "verify": ("Yes", True),
    "copy_streams": ("4", 4),
    "dead_source": ("recreate", "recreate"),
    "lock_wait": ("30", 30),
    "lock_dir": ("/run/lock/one", "/run/lock/one"),
}
FRONTEND: dict[str, tuple[str, Any]] = {
    "remote_dir": ("/srv/one", "/srv/one"),
    "python": ("/usr/bin/python3.9", "/usr/bin/python3.9"),
    "api_timeout": ("5", 5),
    "connect_timeout": ("600", 600),
    "name": ("one.example.org", "one.example.org"),
}
BAD: dict[str, list[str]] = {
    "mode": ["", "thinn", "Thin", "thin thick"],
    "cow_chunk": ["3", "2", "1024", "48", "64k", "", "-4"],
    "cow_percent": ["4", "101", "50%", "1e1", "5²"],
    "pool_limit": ["49", "101", "95.5"],
    "metadata_limit": ["9", "101", "95.5"],
    "overcommit": ["0", "10001", "100%"],
    "cache_min_age": ["-1", "31536001", "15m"],
    "verify": ["1", "true", "maybe", ""],
    "copy_streams": ["0", "9"],
    "dead_source": ["", "copy"],
    "lock_wait": ["0", "86401"],
    "lock_dir": ["lock", "", "/var/lock one"],
    "remote_dir": ["tmp"],
    "python": ["python3", "~/python"],
    "api_timeout": ["0", "601"],
    "connect_timeout": ["0", "ten"],
    "name": ["a b", "-o;"],
}


def refused(text: str) -> str:
    with pytest.raises(errors.BadConfig) as refusal:
        config.parse(text, "/etc/site.conf")
    sentence = str(refusal.value)
    assert "/etc/site.conf" in sentence
    return sentence


def test_every_option_is_tried_here() -> None:
    assert set(GOOD) == set(config.OPTIONS)
    assert set(FRONTEND) == set(config.FRONTEND)
    assert set(BAD) == {*GOOD, *FRONTEND}


def test_every_option_has_a_meaning() -> None:
    assert all(option.meaning for option in {**config.OPTIONS, **config.FRONTEND}.values())


@pytest.mark.parametrize("key", GOOD)
def test_a_storage_option_is_read_and_nothing_else_changes(key: str) -> None:
    text, value = GOOD[key]
    settings = config.parse(f"[storage]\n{key} = {text}\n").storage(0)
    assert {f.name: getattr(settings, f.name) for f in fields(Settings)} == {**vars(Settings()), key: value}


@pytest.mark.parametrize("key", FRONTEND)
def test_a_frontend_option_is_read(key: str) -> None:
    text, value = FRONTEND[key]
    assert getattr(config.parse(f"[frontend]\n{key} = {text}\n"), key) == value


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in BAD.items() for text in texts])
def test_a_value_out_of_range_names_section_and_key(key: str, text: str) -> None:
    section = "storage" if key in GOOD else "frontend"
    assert f"[{section}] {key} = " in refused(f"[{section}]\n{key} = {text}\n")


def test_a_datastore_overrides_the_default_wherever_its_section_stands() -> None:
    site = config.parse("[storage 100]\nmode = thick\n[storage]\npool_limit = 80\nmode = thin\n[storage 7]\n")
    assert (site.storage(100).mode, site.storage(100).pool_limit) == ("thick", 80)
    assert (site.storage(7).mode, site.storage(7).pool_limit) == ("thin", 80)
    assert site.storage(0) == site.default


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[storage]\npool_limt = 80", "did you mean pool_limit?"),
        ("[storage 1]\nmodus = thin", "did you mean mode?"),
        ("[storage]\npython = /usr/bin/python3", "known are mode, "),
        ("[frontend]\napi_timout = 3", "did you mean api_timeout?"),
        ("[frontend]\nzzz = 1", "known are remote_dir, python"),
    ],
)
def test_an_unknown_key_names_the_nearest(text: str, near: str) -> None:
    assert near in refused(text)


@pytest.mark.parametrize(
    "section", ["store", "storage x", "storage -1", "storage  1", "DEFAULT", "storage 1 2", "frontend 1", "storage ²"]
)
def test_an_unknown_section_is_refused(section: str) -> None:
    refused(f"[{section}]\nmode = thin\n")


@pytest.mark.parametrize(
    "text",
    ["mode = thin", "[storage]\nmode", "[storage]\nmode = thin\nmode = thick", "[storage]\n[storage]", "[storage"],
)
def test_what_is_not_ini_is_refused(text: str) -> None:
    refused(text)


def test_two_spellings_of_one_datastore_are_refused() -> None:
    refused("[storage 1]\nmode = thin\n[storage 01]\nmode = thick\n")


@given(st.text())
def test_any_text_is_a_site_or_a_refusal(text: str) -> None:
    try:
        config.parse(text)
    except errors.BadConfig as e:
        assert "\n" not in str(e)


def test_no_file_means_all_defaults(tmp_path: Path) -> None:
    assert config.load(str(tmp_path / "none")) == config.Site()


def test_comments_and_no_interpolation(tmp_path: Path) -> None:
    path = tmp_path / "site.conf"
    path.write_text("# a comment\n[storage]\n; another\nlock_dir = /run/%(x)s\n")
    assert config.load(str(path)).default.lock_dir == "/run/%(x)s"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "site.conf"
    path.write_bytes(b"[storage]\nmode = \xff\n")
    for unreadable in (path, tmp_path):
        with pytest.raises(errors.BadConfig, match=str(unreadable)):
            config.load(str(unreadable))

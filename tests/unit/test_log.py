from __future__ import annotations

import syslog

import pytest
from pytest_mock import MockerFixture

from vafnebula import log


@pytest.fixture
def lines(mocker: MockerFixture) -> list[tuple[int, str]]:
    said: list[tuple[int, str]] = []

    def say(level: int, text: str) -> None:
        text.encode()  # syslog itself refuses what cannot be encoded
        said.append((level, text))

    mocker.patch("syslog.syslog", side_effect=say)
    return said


def test_a_line_is_a_verb_and_facts(lines: list[tuple[int, str]]) -> None:
    log.event("clone", vm=7, cache="hit", seconds=0.12345)
    log.trouble("undo", why="it is in use")
    assert lines == [
        (syslog.LOG_INFO, "clone vm=7 cache=hit seconds=0.123"),
        (syslog.LOG_WARNING, "undo why='it is in use'"),
    ]


@pytest.mark.parametrize("text", ["two\nlines", "nul\0", "surrogate\udcff", "escape\x1b[2J", "tab\tbed"])
def test_whatever_the_value_it_is_one_line_that_syslog_accepts(lines: list[tuple[int, str]], text: str) -> None:
    log.event("fill", image=text)
    [(_, line)] = lines
    assert line.isprintable()
    assert line.startswith("fill image='")


def test_syslog_itself_takes_such_a_line() -> None:
    log.event("test", image="nul\0 and surrogate\udcff")

from __future__ import annotations

import re
from string import Formatter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vafnebula import errors
from vafnebula.errors import LIMIT, Error, one_line


def classes(cls: type[Error] = Error) -> list[type[Error]]:
    return [cls, *(c for child in cls.__subclasses__() for c in classes(child))]


def facts_of(cls: type[Error], value: object) -> dict[str, object]:
    return {name: value for _, name, _, _ in Formatter().parse(cls.sentence) if name}


def of_this_file() -> list[type[Error]]:
    return [c for c in classes() if c.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", of_this_file())
@settings(max_examples=20)
@given(text=st.text())
def test_whatever_the_facts_are_the_sentence_is_one_printable_line(cls: type[Error], text: str) -> None:
    sentence = str(cls(**facts_of(cls, text)))
    assert len(sentence) <= LIMIT
    assert sentence.isprintable()
    assert sentence == sentence.strip()


@pytest.mark.parametrize("cls", of_this_file())
def test_a_sentence_tells_its_facts_and_is_no_log_line_to_opennebula(cls: type[Error]) -> None:
    facts = {name: f"<{name}>" for name in facts_of(cls, "")}
    sentence = str(cls(**facts))
    assert all(value in sentence for value in facts.values())
    assert not re.match(r"-|(INFO|ERROR|DEBUG|WARNING|SUCCESS|FAILURE)\b", sentence, re.IGNORECASE)


@pytest.mark.parametrize("cls", of_this_file())
def test_every_class_has_somebody_who_can_mend_it_and_stands_in_the_drawing(cls: type[Error]) -> None:
    assert cls.blame in ("request", "site", "host", "bug")
    assert errors.__doc__
    assert re.search(rf"\b{cls.__name__}\b", errors.__doc__)


def test_a_missing_fact_is_found_by_the_first_test_that_prints_the_error() -> None:
    with pytest.raises(KeyError):
        str(errors.Busy(what="lock"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  two\n lines\t", "two lines"),
        ("\x1b[31mred\x00", "[31mred"),
        ("\u202egnp.exe", "gnp.exe"),
        ("", ""),
        ("x" * LIMIT, "x" * LIMIT),
    ],
)
def test_one_line_keeps_what_is_printable(text: str, line: str) -> None:
    assert one_line(text) == line


def test_an_overlong_line_loses_its_middle() -> None:
    line = one_line("why " + "x" * 1000 + " what to do")
    assert len(line) <= LIMIT
    assert line.startswith("why x")
    assert " ... " in line
    assert line.endswith("x what to do")


@given(text=st.text(), limit=st.integers(20, 300))
def test_no_line_is_longer_than_asked(text: str, limit: int) -> None:
    assert len(one_line(text, limit)) <= limit


@pytest.mark.parametrize("cls", of_this_file())
def test_an_error_survives_the_way_to_the_other_half(cls: type[Error]) -> None:
    error = cls(**facts_of(cls, "{braces} and % and {0}"))
    again = errors.rebuilt(cls.__name__, str(error))
    assert type(again) is cls
    assert str(again) == str(error)
    assert again.blame == error.blame


@pytest.mark.parametrize("name", ["NoSuchError", "", "Exception", "object"])
def test_an_unknown_class_of_the_other_half_is_a_bug_with_its_text(name: str) -> None:
    error = errors.rebuilt(name, "a {text}")
    assert type(error) is errors.Bug
    assert str(error) == "a {text}"

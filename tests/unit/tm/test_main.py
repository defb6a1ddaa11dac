"""Any exception -> one line that neither OpenNebula nor a terminal can take for something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.opennebula_reader import SENTENCE, read_6, read_7
from vafnebula import errors
from vafnebula.tm import main

TITLE = "clone of disk 0 on node1"
CLASSES = [errors.Busy, errors.NodePackage, errors.BadArgument, errors.CommandFailed, errors.ApiFailed, errors.Bug]


def plain(line: str) -> None:
    """`line` is what a user of OpenNebula 6.10 and 7.x sees, and nothing of it went elsewhere."""
    assert line.startswith("clone")
    assert line.isprintable()
    assert len(line) <= errors.LIMIT
    for read in (read_6, read_7):
        seen = read(line.encode(errors="backslashreplace") + b"\n")
        assert seen.routed == ()
        assert seen.user is not None
        assert f"{SENTENCE}: {line}".startswith(seen.user[:100])
        assert " ".join(seen.info.split()) == line


def test_the_sentence() -> None:
    error = errors.Busy(what="lv-one-7-0", why="open by qemu")
    assert main.sentence(TITLE, error) == f"{TITLE}: lv-one-7-0 is in use: open by qemu; stop what uses it and retry"


def test_what_nobody_foresaw_is_a_bug_without_traceback() -> None:
    line = main.sentence(TITLE, ZeroDivisionError("division by zero"))
    assert line == (
        f"{TITLE}: internal error ZeroDivisionError (division by zero); please report it with the node's syslog"
    )
    plain(line)


def test_an_interruption() -> None:
    assert "interrupted" in main.sentence(TITLE, KeyboardInterrupt())


@pytest.mark.parametrize(
    "text", ["ERROR: 404 not found", "INFO: 3 x", "\nINFO: 3 x\n", "-", "", "\x1b[31m", "{}", "%s"]
)
def test_texts_that_hurt_opennebula(text: str) -> None:
    for error in (errors.rebuilt("Busy", text), errors.Busy(what=text, why=text), ValueError(text), OSError(2, text)):
        plain(main.sentence(TITLE, error))


@given(st.sampled_from(CLASSES), st.text(st.characters(codec="utf-8")))
def test_any_text_in_any_class(cls: type[errors.Error], text: str) -> None:
    plain(main.sentence(TITLE, errors.rebuilt(cls.__name__, text)))


@given(st.text(st.characters()))
def test_any_text_in_an_unexpected_exception(text: str) -> None:
    plain(main.sentence(TITLE, RuntimeError(text)))

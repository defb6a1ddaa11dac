from __future__ import annotations

import os
import signal
from functools import partial

import pytest
from pytest_mock import MockerFixture

from tests.fakes.child import Child
from vafnebula import errors
from vafnebula.node import signals
from vafnebula.node.undo import Undo


def test_the_inverses_run_last_first_when_the_block_fails() -> None:
    ran: list[int] = []
    with pytest.raises(KeyError), Undo() as undo:
        for number in range(3):
            undo.push(str(number), partial(ran.append, number))
        raise KeyError
    assert ran == [2, 1, 0]


def test_nothing_runs_after_a_commit() -> None:
    ran: list[int] = []
    with pytest.raises(KeyError), Undo() as undo:
        undo.push("x", lambda: ran.append(1))
        undo.commit()
        raise KeyError
    assert ran == []


def test_a_block_that_ends_without_commit_is_undone() -> None:
    ran: list[int] = []
    with Undo() as undo:
        undo.push("x", lambda: ran.append(1))
    assert ran == [1]


@pytest.mark.parametrize("error", [errors.Busy(what="x", why="y"), PermissionError(13, "Permission denied")])
def test_an_inverse_that_fails_is_logged_and_the_next_still_runs(error: Exception, mocker: MockerFixture) -> None:
    said = mocker.patch("syslog.syslog")
    ran: list[int] = []

    def fail() -> None:
        raise error

    with pytest.raises(KeyError), Undo() as undo:
        undo.push("the volume", lambda: ran.append(1))
        undo.push("the link", fail)
        raise KeyError
    assert ran == [1]
    assert "the link" in said.call_args.args[1]


def test_a_signal_waits_until_everything_is_undone() -> None:
    def run(child: Child) -> str:
        signals.install()
        ran: list[str] = []
        try:
            with Undo() as undo:
                undo.push("first", lambda: ran.append("first"))
                undo.push("last", lambda: os.kill(os.getpid(), signal.SIGTERM))
                raise KeyError
        except errors.Interrupted as e:
            return f"{ran} {type(e.__context__).__name__}"
        return "not interrupted"

    assert Child(run).result() == "['first'] KeyError"

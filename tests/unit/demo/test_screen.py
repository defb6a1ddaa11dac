from __future__ import annotations

import io

import pytest
from rich.console import Console

from vafnebula.demo.screen import Screen


def screen(terminal: bool) -> tuple[Screen, io.StringIO]:
    said = io.StringIO()
    return Screen(Console(file=said, force_terminal=terminal, width=80, highlight=False)), said


def test_without_a_terminal_a_step_is_plain_lines() -> None:
    shown, said = screen(terminal=False)
    with shown.step("copying [x]") as step:
        step.note("half")
        step.count(1, 2)
        step.done("256 MiB")
    begun, note, ended = said.getvalue().splitlines()
    assert (begun, note) == ("copying [x] ...", "    half")
    assert ended.startswith("    256 MiB (")
    assert "\x1b" not in said.getvalue()


def test_on_a_terminal_a_step_ends_as_one_line() -> None:
    shown, said = screen(terminal=True)
    with shown.step("copying [x]") as step:
        step.count(1, 2)
    assert said.getvalue().count("✓") == 1
    assert "copying [x]" in said.getvalue()


def test_a_step_that_fails_does_not_say_done() -> None:
    shown, said = screen(terminal=False)
    with pytest.raises(ValueError, match="no"), shown.step("copying"):
        raise ValueError("no")
    assert said.getvalue() == "copying ...\n"


def test_a_table_shows_every_cell_as_it_is() -> None:
    shown, said = screen(terminal=False)
    shown.table([("what", False), ("s", True)], [["[red]clone[/red]", "1.00"]])
    assert "[red]clone[/red]" in said.getvalue()

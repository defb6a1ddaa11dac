"""The reader itself, against what a real OpenNebula 7.4.0 made of stderr (failure cases F01 to F05)."""

from __future__ import annotations

from tests.contract.opennebula_reader import read_6, read_7


def test_mixed_lines_are_glued_and_cut() -> None:
    read = read_7(
        b"INFO: clone: progress\nWARN: clone: careful\nWARNING: clone: spelled out\nDEBUG: clone: dbg\n"
        b"ERROR: clone: detailed error\nplain line one\n  plain line two  \nERROR MESSAGE --8<------\n"
        b"the wrapped message\nERROR MESSAGE ------>8--\n"
    )
    assert read.info == (
        "WARNING: clone: spelled outplain line oneplain line twoERROR MESSAGE --8<------the wrapped message"
        "ERROR MESSAGE ------>8--"
    )
    assert read.user == (
        "Error executing image transfer script: WARNING: clone: spelled outplain line oneplain line twoERROR "
        "... see more details in VM log"
    )
    assert [vm for vm, _ in read.routed] == [-1, -1, -1, -1]


def test_only_a_level_line_leaves_the_error_unset() -> None:
    assert read_7(b"ERROR: clone: only this\n").user is None


def test_f03_a_number_after_a_level_word_is_a_vm() -> None:
    """`ERROR: 404 not found` crashed oned: there was no VM 404."""
    read = read_7(b"ERROR: 404 not found\nERROR: disk 12 missing\ntail\n")
    assert read.routed == ((404, "not found"), (-1, "disk 12 missing"))
    assert read.info == "tail"


def test_a_traceback_is_glued() -> None:
    read = read_7(
        b'Traceback (most recent call last):\n  File "<string>", line 3, in <module>\n'
        b'  File "<string>", line 2, in f\nRuntimeError: no such LV\n'
    )
    assert read.user == (
        'Error executing image transfer script: Traceback (most recent call last):File "<string>", line 3, in'
        "... see more details in VM log"
    )


def test_nothing_and_a_dash_are_no_text() -> None:
    assert read_7(b"").user is read_7(b"- not shown\n").user is read_6(b"-x\n").user is None

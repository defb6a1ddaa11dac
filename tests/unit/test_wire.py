"""The stream: what is written is read; what is cut off, changed or not a stream is noticed."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors, wire
from vafnebula.wire import Change

CHANGES = [Change(0, 5, b"hello"), Change(4096, 8192, None), Change(16384, 3, b"abc")]
REPLY = b'{"version": "1"}\n'


def stream(*volumes: list[Change]) -> bytes:
    out = io.BytesIO()
    writer = wire.Writer(out)
    for number, changes in enumerate(volumes):
        writer.begin({"name": number})
        for change in changes:
            writer.change(change)
        writer.end()
    assert writer.bytes == len(out.getvalue())
    return out.getvalue()


def read(data: bytes) -> tuple[list[tuple[object, list[Change]]], bytes]:
    source = io.BytesIO(data)
    reader = wire.Reader(source)
    found = []
    head = reader.next()
    while head is not None:
        found.append((head["name"], list(reader.changes())))
        head = reader.next()
    return found, reader.last + source.read()


def test_what_is_written_is_read() -> None:
    assert read(stream(CHANGES, [], CHANGES[:1]) + REPLY) == ([(0, CHANGES), (1, []), (2, CHANGES[:1])], REPLY)


def test_login_scripts_may_print_before_it() -> None:
    assert read(b"Welcome!\n\xff\n" + stream(CHANGES) + REPLY) == ([(0, CHANGES)], REPLY)


def test_a_reply_alone_is_a_stream_of_nothing() -> None:
    assert read(b"Welcome!\n" + REPLY) == ([], REPLY)
    assert read(b"") == ([], b"")


def test_a_reply_in_the_middle_says_why() -> None:
    whole = stream(CHANGES)
    reader = wire.Reader(io.BytesIO(whole[: -1 - wire.DIGEST] + REPLY))
    reader.next()
    with pytest.raises(errors.CopyFailed, match="stopped before the end"):
        list(reader.changes())
    assert reader.last == REPLY[:1]


@given(st.integers(len(wire.MAGIC) + 1, len(stream(CHANGES)) - 1))
def test_cut_anywhere_it_never_passes(length: int) -> None:
    with pytest.raises(errors.CopyFailed):
        read(stream(CHANGES)[:length])


@given(st.integers(len(wire.MAGIC) + 25, len(stream(CHANGES)) - 1), st.integers(1, 255))
def test_changed_anywhere_it_never_passes(at: int, by: int) -> None:
    data = bytearray(stream(CHANGES))
    data[at] ^= by
    with pytest.raises((errors.CopyFailed, ValueError)):
        read(bytes(data))

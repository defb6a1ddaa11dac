"""What crosses the network when a disk or a VM's directory moves: a stream of records, sparse, with a digest.

    vafnebula stream 1\n                              behind whatever a login script printed
    F <length> <JSON>                                 a volume or file begins: what it is
    D <offset> <length> <bytes>                       content of it
    Z <offset> <length>                               zeros, where the base that both sides hold has something else
    E <32 bytes>                                      its end: the digest of all its D and Z records
    {"version": ...                                   the reply: after the last E, or when the sender cannot go on

What no record mentions is as in the base, or zero where there is no base.  Numbers are big-endian, 8 bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from vafnebula import errors, units
from vafnebula.names import hasher

MAGIC = b"vafnebula stream 1\n"
LARGEST = units.MIB  # bytes of one D record
DIGEST = 32
_NUMBERS = struct.Struct(">cQQ")
_LENGTH = struct.Struct(">Q")
_HEADER = 64 * units.KIB


@dataclass(frozen=True)
class Change:
    """`length` bytes at `offset` that differ from the base: `data`, or zeros when it is None."""

    offset: int
    length: int
    data: bytes | None

    def frame(self) -> bytes:
        return _NUMBERS.pack(b"Z" if self.data is None else b"D", self.offset, self.length)


class Writer:
    """Writes a stream; `bytes` counts what went out."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._digest = hasher()
        self.bytes = 0
        self._write(MAGIC)

    def begin(self, head: dict[str, Any]) -> None:
        """A volume or file begins; `head` says which."""
        text = json.dumps(head).encode()
        self._write(b"F" + _LENGTH.pack(len(text)) + text)
        self._digest = hasher()

    def change(self, change: Change) -> None:
        frame = change.frame()
        self._digest.update(frame)
        self._write(frame)
        if change.data is not None:
            self._digest.update(change.data)
            self._write(change.data)

    def end(self) -> None:
        """The volume or file that began last is complete."""
        self._write(b"E" + self._digest.digest())
        self._out.flush()

    def _write(self, data: bytes) -> None:
        self.bytes += len(data)
        self._out.write(data)


class Reader:
    """Reads a stream.  `last` is what was read of the reply; `bytes` counts what came in."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = b""  # of the volume or file that ended last
        self.last = b""
        self.bytes = 0
        line = source.readline(_HEADER)
        while line and line != MAGIC and not line.startswith(b"{"):
            line = source.readline(_HEADER)
        self._began = line == MAGIC
        if line.startswith(b"{"):
            self.last = line

    def next(self) -> dict[str, Any] | None:
        """What the next volume or file is, None at the end of the stream."""
        if not self._began:
            return None
        kind = self._source.read(1)
        if kind != b"F":
            self.last = kind
            return None
        [length] = _LENGTH.unpack(self._exactly(_LENGTH.size))
        if length > _HEADER:
            raise _broken("a header is too long")
        head = json.loads(self._exactly(length))
        if not isinstance(head, dict):
            raise _broken("a header is not one")
        return head

    def changes(self) -> Iterator[Change]:
        """The content of what `next` announced.  Raises CopyFailed when the stream ends before it."""
        digest = hasher()
        while True:
            kind = self._source.read(1)
            if kind == b"E":
                self.digest = self._exactly(DIGEST)
                if self.digest != digest.digest():
                    raise _broken("what arrived is not what was sent")
                self.bytes += 1 + DIGEST
                return
            if kind not in (b"D", b"Z"):
                self.last = kind
                raise _broken("the other side stopped before the end")
            rest = self._exactly(_NUMBERS.size - 1)
            _, offset, length = _NUMBERS.unpack(kind + rest)
            if kind == b"D" and not 0 < length <= LARGEST:
                raise _broken("a record is too long")
            data = self._exactly(length) if kind == b"D" else None
            digest.update(kind + rest)
            if data is not None:
                digest.update(data)
            self.bytes += _NUMBERS.size + (length if data is not None else 0)
            yield Change(offset, length, data)

    def _exactly(self, length: int) -> bytes:
        data = self._source.read(length)
        if len(data) != length:
            raise _broken("the other side stopped before the end")
        return data


class Sender(Protocol):
    """Who sends (ssh.Conversation): its stream, and what it has to say when that is over or broken off."""

    @property
    def out(self) -> BinaryIO: ...
    def reply(self, last: bytes = b"") -> object: ...


def receive(sender: Sender, volumes: Sequence[str], take: Callable[[int, Reader], None]) -> Reader:
    """Have `take(position, reader)` read the content of each of `volumes`, in their order, and see the sender succeed.

    Raises CopyFailed, or what the sender says when it stopped: that is the better reason.
    """
    reader = Reader(sender.out)
    for position, name in enumerate(volumes):
        head = reader.next()
        if head is None:
            sender.reply(reader.last)
        if head != {"name": name}:
            raise errors.CopyFailed(source=name, why="something else came")
        try:
            take(position, reader)
        except errors.CopyFailed:
            if reader.last:
                sender.reply(reader.last)
            raise
    reader.next()
    sender.reply(reader.last)
    return reader


def _broken(why: str) -> errors.CopyFailed:
    return errors.CopyFailed(source="the other side's disk", why=why)

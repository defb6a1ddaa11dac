"""Signals as exceptions, at places of our choice.

A delete that finds a clone of its disk at work sends it SIGTERM; ssh or an admin may do the same.  Outside a
shield the handler raises Interrupted, which kills a running copy and unwinds the undo stack.  Inside a shield
(an LVM command, an undo, the publication) the signal waits until the shield ends.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from vafnebula import errors

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_shields = 0
_pending: int | None = None


def install() -> None:
    """Handle SIGTERM, SIGINT and SIGHUP in this process.  A closed ssh connection sends none of them."""
    for number in _HANDLED:
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _pending
    if _shields:
        _pending = number
    else:
        raise errors.Interrupted(why=signal.Signals(number).name)


@contextmanager
def shielded() -> Iterator[None]:
    """Signals wait while the block runs; the one that came is raised at the outermost end.  Raises Interrupted."""
    global _shields, _pending
    _shields += 1
    try:
        yield
    finally:
        _shields -= 1
    if not _shields and _pending is not None:
        number, _pending = _pending, None
        raise errors.Interrupted(why=signal.Signals(number).name)

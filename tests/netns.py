"""Network namespaces: another one for as long as a block runs, and what their bridges need."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

BRIDGE_MAC = "02:00:00:00:00:01"
"""For a bridge with machines that come later: one without an address of its own takes the lowest of its ports', and
all others send to the old one for half a minute."""
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets that this thread makes in the block belong to the network namespace at path `namespace`."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(namespace, os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(home)
        os.close(home)
        os.close(there)


def _enter(namespace: int) -> None:
    assert _LIBC.setns(namespace, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

"""Tell systemd how we are: READY, WATCHDOG, STATUS.  Without NOTIFY_SOCKET it is silent."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(*lines: str) -> None:
    """Send `lines` (as in sd_notify(3)) to whoever started us."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out, contextlib.suppress(OSError):
        out.sendto("\n".join(lines).encode(), address)

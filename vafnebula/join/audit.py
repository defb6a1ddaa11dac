"""One syslog line for every request to join, granted or refused (facility auth, program vafnebula-join)."""

from __future__ import annotations

import syslog

from vafnebula import errors


def granted(address: str, **facts: object) -> None:
    _write(syslog.LOG_NOTICE, f"granted address={address}", facts)


def refused(address: str, why: str, **facts: object) -> None:
    _write(syslog.LOG_WARNING, f"refused address={address}", {"why": why, **facts})


def _write(level: int, head: str, facts: dict[str, object]) -> None:
    """What came from outside is quoted: no line break can forge another line."""
    text = " ".join((head, *(f"{k}={v!r}" if isinstance(v, str) else f"{k}={v}" for k, v in facts.items())))
    syslog.openlog("vafnebula-join", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(level, errors.one_line(text, 900))

"""One syslog line per change.  stdout and stderr belong to the protocol with OpenNebula.

A line is `verb key=value ...`: greppable, and small enough for journald's field search.
"""

from __future__ import annotations

import syslog

syslog.openlog("vafnebula", syslog.LOG_PID, syslog.LOG_DAEMON)


def event(what: str, **facts: object) -> None:
    """Log that something was done: seconds as floats, sizes in bytes."""
    syslog.syslog(syslog.LOG_INFO, _line(what, facts))


def trouble(what: str, **facts: object) -> None:
    """Log what a person should look at."""
    syslog.syslog(syslog.LOG_WARNING, _line(what, facts))


def _line(what: str, facts: dict[str, object]) -> str:
    values = (
        f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={str(v)!r}" if " " in str(v) else f"{k}={v}"
        for k, v in facts.items()
    )
    return " ".join((what, *values))

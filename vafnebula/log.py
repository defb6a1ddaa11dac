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
        f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" if _plain(str(v)) else f"{k}={str(v)!r}"
        for k, v in facts.items()
    )
    return " ".join((what, *values))


def _plain(text: str) -> bool:
    """Whether a value needs no quotes.  syslog refuses NUL and surrogates; a line break would forge another line."""
    return text.isprintable() and " " not in text

"""How a command that holds a lab ends early: one line, and the lab is gone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from vafnebula import errors

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A person, or the system, wants us to end."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.signal = number


@contextmanager
def stoppable(name: str) -> Iterator[None]:
    """Run the block; an expected error becomes one line and exit code 1, a signal one line and 128 + its number."""
    for number in SIGNALS:
        signal.signal(number, _stop)
    try:
        yield
    except errors.Error as e:
        raise click.ClickException(str(e)) from e
    except Stopped as e:
        click.echo(f"{name}: stopped by {e.signal.name}; the lab is gone", err=True)
        raise SystemExit(128 + e.signal) from None


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    """End, once: cleaning up is not interrupted by impatience."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(signal.Signals(number))

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from vafnebula import errors
from vafnebula.node import signals

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = [signal.getsignal(number) for number in HANDLED]
    signals.install()
    yield
    for number, handler in zip(HANDLED, before):
        signal.signal(number, handler)


def send(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_is_an_exception_that_names_it(number: signal.Signals) -> None:
    with pytest.raises(errors.Interrupted, match=number.name):
        send(number)


def test_a_shield_defers_to_its_end() -> None:
    done = []
    with pytest.raises(errors.Interrupted, match="SIGTERM"), signals.shielded():
        send()
        done.append("the rest of the block")
    assert done


def test_only_the_outermost_shield_raises() -> None:
    done = []
    with pytest.raises(errors.Interrupted), signals.shielded():
        with signals.shielded():
            send()
        done.append("the rest of the outer block")
    assert done


def test_many_signals_in_a_shield_are_one_exception() -> None:
    with pytest.raises(errors.Interrupted), signals.shielded():
        send()
        send(signal.SIGHUP)
        send()
    with signals.shielded():
        pass


def test_without_a_signal_a_shield_does_nothing() -> None:
    with signals.shielded():
        pass


def test_a_signal_in_a_block_that_fails_is_not_lost() -> None:
    with pytest.raises(KeyError), signals.shielded():
        send()
        raise KeyError
    with pytest.raises(errors.Interrupted), signals.shielded():  # the shield of the undo that follows
        pass

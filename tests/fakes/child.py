"""Child: a function run in a forked process, for tests of locks and signals; and many functions at once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Child:
    """A forked process that runs `function(child)` and ends; `result()` is what it returned, as text.

    Inside, `ready()` says that a certain point is reached; outside, `wait_ready()` waits for it.
    """

    def __init__(self, function: Callable[[Child], object]) -> None:
        self._said, self._say = os.pipe()
        self._result, write = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(self._say)
            os.close(write)
            return
        os.close(self._said)
        code = 1
        try:
            answer = function(self)
            code = 0
        except BaseException:  # noqa: BLE001  the parent raises it again
            answer = traceback.format_exc()
        with contextlib.suppress(BaseException):
            os.write(write, str(answer).encode()[:4000])
        os._exit(code)

    def ready(self) -> None:
        os.write(self._say, b"!")

    def stay(self) -> None:
        """Be ready, and at work until a signal comes."""
        self.ready()
        time.sleep(60)

    def wait_ready(self) -> None:
        assert os.read(self._said, 1) == b"!", self.result()

    def kill(self) -> None:
        """End it by SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def result(self) -> str:
        with open(self._result, "rb") as f:  # the read end's close makes the end certain
            text = f.read().decode()
        assert self._reap() == 0, text
        return text

    def _reap(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        os.close(self._said)
        return status


def at_once(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Run functions in as many threads; their results, or the first exception."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(function) for function in functions]]

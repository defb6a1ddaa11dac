"""A stack of inverses.  Push the inverse *before* the act, commit when the result is published.

An inverse removes only what this run made (volumes carry the run's tag), so it is right whether the act happened,
half happened or did not; and a volume that was there before, or that a twin run made, is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from vafnebula import errors, log
from vafnebula.node import signals


class Undo:
    """`with Undo() as undo: undo.push("volume x", remove, x); make(x); undo.commit()`.

    When the block is left without commit the inverses run, last first, shielded from signals.  One that fails is
    logged and the next still runs.
    """

    def __init__(self) -> None:
        self._stack: list[tuple[str, Callable[[], object]]] = []

    def push(self, what: str, inverse: Callable[[], object]) -> None:
        self._stack.append((what, inverse))

    def commit(self) -> None:
        self._stack.clear()

    def __enter__(self) -> Undo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with signals.shielded():
            while self._stack:
                what, inverse = self._stack.pop()
                try:
                    inverse()
                except (errors.Error, OSError) as e:
                    log.trouble("undo", left=what, why=e)

"""What a person sees while something works: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table


class Step:
    """A piece of work in progress.  Any thread may note how far it is."""

    def __init__(self, screen: Screen, text: str, status: Status | None) -> None:
        self._screen = screen
        self._text = text
        self._status = status
        self._lock = threading.Lock()
        self.result = ""

    def note(self, text: str) -> None:
        """Say how far it is."""
        with self._lock:
            if self._status is not None:
                self._status.update(f"{escape(self._text)} [dim]{escape(text)}[/dim]")
            else:
                self._screen.line(f"    {text}")

    def count(self, done: int, total: int) -> None:
        """Say how many are done; on a terminal only, a log needs no counting."""
        if self._status is not None:
            self.note(f"{done} of {total}")

    def done(self, text: str) -> None:
        """What shall stand behind the step when it has ended."""
        self.result = text


class Screen:
    """Progress, text and tables on stdout."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Show that `text` is going on while the block runs, then how long it took."""
        began = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(escape(text)) as status:
                step = Step(self, text, status)
                yield step
        else:
            self.line(f"{text} ...")
            step = Step(self, text, None)
            yield step
        seconds = f"{time.monotonic() - began:.1f} s"
        if self.console.is_terminal:
            result = f": {escape(step.result)}" if step.result else ""
            self.console.print(f"[green]✓[/green] {escape(text)}{result} [dim]({seconds})[/dim]")
        else:
            self.line(f"    {step.result or 'done'} ({seconds})")

    def line(self, text: str = "") -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def title(self, text: str) -> None:
        self.console.print()
        self.console.print(f"[bold]{escape(text)}[/bold]")

    def table(self, columns: list[tuple[str, bool]], rows: list[list[str]]) -> None:
        """A table; a column is its heading and whether it holds numbers."""
        table = Table(show_edge=False, pad_edge=False, header_style="bold" if self.console.is_terminal else "")
        for heading, numeric in columns:
            table.add_column(escape(heading), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self.console.print(table)

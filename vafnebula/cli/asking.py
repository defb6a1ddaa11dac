"""What the commands that ask nodes have in common: options, failures, tables.

Exit codes: 0 fine, 1 problems were found, 2 it cannot be answered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from vafnebula import errors

PROBLEMS, UNANSWERED = 1, 2

hosts = click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="Only this node; may be repeated. [default: OpenNebula's hosts]",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
sds = click.option("--sds", type=int, metavar="ID", help="Only this system datastore.")


@contextmanager
def failures(what: str) -> Iterator[None]:
    """An expected error becomes one line and exit code 2."""
    try:
        yield
    except errors.Error as e:
        click.echo(errors.one_line(f"{what}: {e}"), err=True)
        raise SystemExit(UNANSWERED) from None


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for a person; as wide as it needs to be when it goes to a file or pipe."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 250, highlight=False, markup=False).print(table)


def tell_unseen(unseen: Iterable[tuple[str, errors.Error]]) -> bool:
    """Say which nodes gave no answer; whether there were any."""
    some = False
    for host, error in unseen:
        some = True
        click.echo(errors.one_line(f"{host}: {error}"), err=True)
    return some

"""A small SQLite file that many processes write at once and any of them may be killed at: nothing is half there.

SQLite's rollback journal undoes what a killed writer left; writers wait for each other, at most WAIT seconds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from vafnebula import errors

WAIT = 20.0


@contextmanager
def transaction(path: str, schema: str) -> Iterator[sqlite3.Connection]:
    """A connection within one transaction: kept when the block ends, undone when an exception passes.

    The file is made, readable by its owner and group, with `schema` (statements that can be repeated).
    Raises SystemRefused when the file cannot be used.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o640))
        with closing(sqlite3.connect(path, timeout=WAIT, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, schema.split(";")):
                connection.execute(statement)
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    except (OSError, sqlite3.Error) as e:
        raise errors.SystemRefused(path=path, why=str(getattr(e, "strerror", None) or e)) from e

"""The registered keys, each with its account and its end, in one SQLite file; times are seconds of the epoch."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from sqlite3 import Connection

from vafnebula import errors
from vafnebula.database import transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS key (account TEXT NOT NULL, key TEXT NOT NULL, subject TEXT NOT NULL,
    expires INTEGER NOT NULL, PRIMARY KEY (account, key));
"""


class TooMany(errors.RequestError):
    sentence = "account {account} has {most} keys already; wait until one ends, or ask the admin to revoke one"


@dataclass(frozen=True)
class Entry:
    """`key` (KIND BASE64) opens `account` until `expires`; it was registered by the holder of `subject`."""

    account: str
    key: str
    subject: str
    expires: int


@dataclass(frozen=True)
class Registry:
    """The registry in file `path`."""

    path: str

    def register(self, entry: Entry, now: int, most: int) -> None:
        """Add a key, or give it a new end.  Raises TooMany; nothing is changed then."""
        with self._open() as db:
            db.execute("DELETE FROM key WHERE expires <= ?", (now,))
            others = "SELECT count(*) FROM key WHERE account = ? AND key != ?"
            (count,) = db.execute(others, (entry.account, entry.key)).fetchone()
            if count >= most:
                raise TooMany(account=entry.account, most=most)
            row = (entry.account, entry.key, entry.subject, entry.expires)
            db.execute("INSERT OR REPLACE INTO key VALUES (?, ?, ?, ?)", row)

    def entries(self, now: int, account: str | None = None) -> list[Entry]:
        """What is still good, of one account or of all."""
        with self._open() as db:
            found = "SELECT * FROM key WHERE expires > ? AND (? IS NULL OR account = ?) ORDER BY account, expires, key"
            return [Entry(*row) for row in db.execute(found, (now, account, account))]

    def revoke(self, *, account: str | None = None, subject: str | None = None) -> int:
        """End keys now: an account's, a subject's, or those of a subject in an account; how many there were."""
        with self._open() as db:
            gone = "DELETE FROM key WHERE (? IS NULL OR account = ?) AND (? IS NULL OR subject = ?)"
            return db.execute(gone, (account, account, subject, subject)).rowcount

    def _open(self) -> AbstractContextManager[Connection]:
        return transaction(self.path, _SCHEMA)

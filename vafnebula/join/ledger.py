"""Who was seen first when, with which key; who has joined under which name; how often an address asked.

One SQLite file: a crash between two steps leaves a claim that the same worker may repeat.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from sqlite3 import Connection

from vafnebula.database import transaction
from vafnebula.join.request import Refused

MINUTE = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (vm INTEGER PRIMARY KEY, key TEXT NOT NULL, since REAL NOT NULL);
CREATE TABLE IF NOT EXISTS member (name TEXT PRIMARY KEY, who TEXT NOT NULL, address TEXT NOT NULL,
    since REAL NOT NULL, joined INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS attempt (address TEXT NOT NULL, time REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempts ON attempt (address, time);
"""


@dataclass(frozen=True)
class Member:
    """A name in the batch system: `who` has it (a key's fingerprint, or the number of a worker), since when.

    `joined` says that the batch system was told; without it the name is only claimed.
    """

    name: str
    who: str
    address: str
    since: float
    joined: bool


@dataclass(frozen=True)
class Ledger:
    """The ledger in directory `state`.  Times are seconds of the epoch, given by the caller."""

    state: str

    def attempt(self, address: str, now: float, most: int) -> None:
        """Count a request.  Raises Refused when `address` had `most` within the last minute."""
        with self._open() as db:
            db.execute("DELETE FROM attempt WHERE time < ? OR time > ?", (now - MINUTE, now + MINUTE))
            (count,) = db.execute("SELECT count(*) FROM attempt WHERE address = ?", (address,)).fetchone()
            if count < most:
                db.execute("INSERT INTO attempt VALUES (?, ?)", (address, now))
        if count >= most:
            raise Refused(f"more than {most} requests within a minute")

    def seen(self, vm: int, key: str, now: float) -> tuple[str, float]:
        """The key with which VM `vm` was seen first, and when: the first key wins, whatever is published later."""
        with self._open() as db:
            db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (vm, key, now))
            first, since = db.execute("SELECT key, since FROM seen WHERE vm = ?", (vm,)).fetchone()
        return str(first), float(since)

    def member(self, name: str) -> Member | None:
        with self._open() as db:
            row = db.execute("SELECT * FROM member WHERE name = ?", (name,)).fetchone()
        return Member(row[0], row[1], row[2], row[3], bool(row[4])) if row else None

    def claim(self, name: str, who: str, address: str, now: float) -> Member:
        """Take `name` if nobody has it; whoever has it then."""
        with self._open() as db:
            db.execute("INSERT OR IGNORE INTO member VALUES (?, ?, ?, ?, 0)", (name, who, address, now))
            row = db.execute("SELECT * FROM member WHERE name = ?", (name,)).fetchone()
        return Member(row[0], row[1], row[2], row[3], bool(row[4]))

    def joined(self, name: str, who: str) -> None:
        """The batch system knows it now."""
        with self._open() as db:
            db.execute("UPDATE member SET joined = 1 WHERE name = ? AND who = ?", (name, who))

    def forget(self, member: Member) -> None:
        """Free a name, unless somebody else took it in between."""
        with self._open() as db:
            db.execute("DELETE FROM member WHERE name = ? AND who = ?", (member.name, member.who))

    def _open(self) -> AbstractContextManager[Connection]:
        return transaction(f"{self.state}/ledger", _SCHEMA)

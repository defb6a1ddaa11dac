"""The table from certificate subjects to accounts: `ACCOUNT SUBJECT` lines.  Nothing is ever made up from a name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from vafnebula.keyvalue import Unusable

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
NEVER = frozenset({"root", "vafreg"})


def load(path: str) -> Mapping[str, str]:
    """Accounts by subject.  Raises Unusable: a table with a mistake maps nobody."""
    found: dict[str, str] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise Unusable(path=path, why=getattr(e, "strerror", None) or e) from e
    for number, line in enumerate(lines, 1):
        account, _, subject = line.strip().partition(" ")
        if not account or account.startswith("#"):
            continue
        subject = subject.strip()
        if not _ACCOUNT.fullmatch(account) or account in NEVER or "=" not in subject:
            raise Unusable(path=path, why=f"line {number} is not `ACCOUNT SUBJECT` with an ordinary account")
        if subject in found:
            raise Unusable(path=path, why=f"line {number}: this subject is there twice")
        found[subject] = account
    return found

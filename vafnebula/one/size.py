"""OpenNebula's MB, which are MiB, at the edge: inside, a size is bytes."""

from __future__ import annotations

from vafnebula import errors, units

MAX_MIB = 2**32


def size_mib(what: str, text: str) -> int:
    """A size that OpenNebula gives in MiB, as bytes.  Raises BadArgument naming `what`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= MAX_MIB):
        raise errors.BadArgument(what=what, value=text, why=f"must be a whole number of MB from 1 to {MAX_MIB}")
    return int(text) * units.MIB

"""What TORQUE and OpenPBS have in common: sizes, times, node names, and how they delete a node."""

from __future__ import annotations

import re

from vafnebula import errors, process
from vafnebula.scale.batch import Run
from vafnebula.units import KIB

PATIENCE = 30.0

_SIZE = re.compile(r"([0-9]{1,18})([kmgtp]?)([bw]?)", re.IGNORECASE)
_FACTOR = {"": 1, "k": KIB, "m": KIB**2, "g": KIB**3, "t": KIB**4, "p": KIB**5}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


def size(text: str) -> int | None:
    """Bytes of `4gb`, `2097152kb`, `512`; a word (w) is 8 bytes."""
    found = _SIZE.fullmatch(text.strip())
    return int(found[1]) * _FACTOR[found[2].lower()] * (8 if found[3].lower() == "w" else 1) if found else None


def number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def named(node: str) -> str:
    """`node`, which qmgr reads as a program.  Raises BadArgument."""
    if not _NAME.fullmatch(node):
        raise errors.BadArgument(what="node name", value=node, why="it is not a host name")
    return node


def delete(run: Run, qmgr: str, node: str) -> None:
    """Raises CommandFailed; a node that is unknown is gone."""
    done = run([qmgr, "-c", f"delete node {named(node)}"], timeout=PATIENCE, check=False)
    if done.code != 0 and b"nknown node" not in done.err:
        raise errors.CommandFailed(program="qmgr", code=done.code, why=done.why)


def failed(done: process.Completed) -> errors.CommandFailed:
    return errors.CommandFailed(program=done.argv[0] if done.argv else "pbsnodes", code=done.code, why=done.why)

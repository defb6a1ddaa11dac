"""How OpenNebula reads the stderr of a transfer action: its rules, written down anew, to judge what we print.

6.10 copies every line to the VM log (a level word in front sets the severity) and shows all of it, joined by
blanks.  7.x sends every line `LEVEL: [number] text` to the log of VM `number` (-1 if there is none; an unknown number
crashes 7.4), glues the other lines together without anything between, and shows that.  Both take a text that starts
with `-` for no text, and oned shows the first 100 characters of its own sentence with ours at the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SENTENCE = "Error executing image transfer script"
SHOWN = 100
MORE = "... see more details in VM log"

_LEVEL_7 = re.compile(r"(ERROR|INFO|WARN|DEBUG):\s+(\d+)?\s*(.*)")
_LEVEL_6 = re.compile(r"(ERROR|INFO|DEBUG):(.*)")


@dataclass(frozen=True)
class Read:
    """`info` is what the driver reports to oned, `user` what USER_TEMPLATE/ERROR says (None: not set).

    `routed` are the lines that became log messages, each with the VM id it was addressed to (None: the VM's own).
    """

    info: str
    user: str | None
    routed: tuple[tuple[int | None, str], ...]


def read_6(stderr: bytes) -> Read:
    """As 6.10 reads a failed action."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
    routed = tuple((None, m[2].strip()) for m in map(_LEVEL_6.fullmatch, lines) if m)
    return _read(" ".join(lines).strip(), routed)


def read_7(stderr: bytes) -> Read:
    """As 7.0 to 7.4 read a failed action."""
    glued, routed = "", []
    for line in (line.strip() for line in stderr.decode(errors="replace").splitlines()):
        found = _LEVEL_7.fullmatch(line)
        if found:
            routed.append((int(found[2] or -1), found[3]))
        else:
            glued += line
    return _read(glued, tuple(routed))


def _read(info: str, routed: tuple[tuple[int | None, str], ...]) -> Read:
    if not info or info.startswith("-"):
        return Read("-", None, routed)
    full = f"{SENTENCE}: {info}"
    return Read(info, full if len(full) <= SHOWN else full[:SHOWN] + MORE, routed)

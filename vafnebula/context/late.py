"""Late values: text with $NAME in it, which OpenNebula substitutes when a VM is made.

The grammar is OpenNebula's (src/parsers/vm_var_parser.l, vm_var_syntax.y).  It reads one character beyond a name
to find its end, and stumbles when that character is a newline, a comma, = or a bracket: `parse` refuses those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_VARIABLE = re.compile(
    r"\$([A-Za-z0-9_]+)"
    r"(?:\[[ \t]*([A-Za-z0-9_]+)"
    r'(?:[ \t]*,[ \t]*([A-Za-z0-9_]+)[ \t]*=[ \t]*(?:"([^"]*)"|([A-Za-z0-9]+)))?[ \t]*\])?'
)
_STUMBLES = re.compile(r"[ \t]*[,=\]]|\[|\n")
_ESCAPED = "\\$"

SINGLES = frozenset({"NAME", "VMID", "UID", "UNAME", "GID", "GNAME", "TEMPLATE", "CPU", "VCPU", "MEMORY"})
VECTORS = frozenset({"NIC", "NETWORK", "USER", "IMAGE", "DISK"})


class Unreadable(ValueError):
    """OpenNebula could not substitute this; `at` is the offset in characters."""

    def __init__(self, why: str, at: int) -> None:
        super().__init__(why)
        self.at = at


@dataclass(frozen=True)
class Variable:
    """$NAME, $NAME[ATTRIBUTE] or $NAME[ATTRIBUTE, KEY=value]; names in upper case."""

    name: str
    attribute: str = ""
    key: str = ""
    value: str = ""
    at: int = 0


def parse(text: str) -> tuple[str | Variable, ...]:
    """The literal pieces and variables of `text`, in order.  Raises Unreadable."""
    pieces: list[str | Variable] = []
    at = 0
    while at < len(text):
        start = text.find("$", at)
        if start < 0:
            pieces.append(text[at:])
            break
        if start and text[start - 1] == "\\":
            raise Unreadable("a backslash before $ stays in the guest's value", start - 1)
        if start > at:
            pieces.append(text[at:start])
        found = _VARIABLE.match(text, start)
        if not found:
            raise Unreadable("$ without a name: OpenNebula knows no ${...}, $(...), $$ or single $", start)
        if _STUMBLES.match(text, found.end()):
            raise Unreadable("OpenNebula cannot read what follows this variable; put another character between", start)
        name, attribute, key, quoted, bare = found.groups()
        value = quoted if quoted is not None else bare or ""
        pieces.append(Variable(name.upper(), (attribute or "").upper(), (key or "").upper(), value, start))
        at = found.end()
    return tuple(pieces)


def substituted(text: str, lookup: Callable[[Variable], str]) -> str:
    """`text` as OpenNebula substitutes it, with `lookup` for the values; what is unknown is ''."""
    return "".join(piece if isinstance(piece, str) else lookup(piece) for piece in parse(text))


def unknown(variable: Variable, attributes: frozenset[str], nics: int) -> str:
    """Why OpenNebula would substitute nothing for `variable` in a VM with these attributes and NICs; '' if it would."""
    whole = variable.name
    if not variable.attribute:
        return "" if whole in SINGLES or whole in attributes else f"OpenNebula knows no ${whole}"
    if whole not in VECTORS:
        return f"OpenNebula knows no ${whole}[...]"
    if whole in ("NIC", "NETWORK") and not nics:
        return f"${whole}[...] in a role without NIC"
    if whole in ("NETWORK", "IMAGE") and not variable.key:
        return f"${whole}[...] needs a selector, as in ${whole}[{variable.attribute}, {whole}_ID=3]"
    return ""

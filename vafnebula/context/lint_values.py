"""Rules about values: T002, C101, C102, C103, C104, C108, S201."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vafnebula.context import late
from vafnebula.context.build import Built, Part
from vafnebula.context.findings import Finding
from vafnebula.context.late import Variable
from vafnebula.context.load import Loaded
from vafnebula.context.source import Mark
from vafnebula.one import template

LARGEST_VARIABLE = 120_000
LARGEST_CONTEXT = 512 * 1024
SEPARATOR = "@^_^@"
"""What oned joins the context's variables with while it substitutes (src/common/Attribute.cc)."""

SECRET_NAME = re.compile(r"PASSW|PASSPHRASE|TOKEN|SECRET|CREDENTIAL|(?<!PUBLIC_)KEY(?!S?_?(?:ID|NAME|FILE|SERVER))")
SECRET_TEXT = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----|\$(?:1|2[abxy]|5|6|7|y|gy)\$[./A-Za-z0-9$=,]{8}|AKIA[0-9A-Z]{16}"
)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_BAD_FOR_ONE_CONTEXT = re.compile(r'`|"|\$\(|\\\\|\\\n|\n[A-Za-z0-9_-]*=')


def check(loaded: Loaded, built: Built) -> Iterator[Finding]:
    attributes = frozenset(loaded.definition.inputs) | frozenset(loaded.definition.secrets)
    attributes |= {a.name for a in built.template.attributes if isinstance(a, template.Single)}
    nics = len(built.template.vectors("NIC"))
    role = loaded.definition.roles[built.role]
    own = dict.fromkeys(role.context.vars, "vars") | dict.fromkeys(role.context.late, "late")
    for part in built.parts:
        if part.mark is None:
            continue
        if part.how in ("literal", "late"):
            yield from _carried(part, part.mark)
        if part.attribute == "CONTEXT" and part.key in own:
            yield from _literal(part, part.mark) if part.how == "literal" else _late(part, part.mark, attributes, nics)
            yield from _agent(part, part.mark, built.agent)
            yield from _secret(part.key, part.value, part.mark)
            if part.key == "SET_HOSTNAME":
                yield from _host(part, part.mark, built.role)
    for name, value in role.context.payload.items():
        mark = loaded.positions.value("roles", built.role, "context", "payload", name)
        yield from _secret(name, value, mark)
    for name, content in built.contents.items():
        found = SECRET_TEXT.search(content.text)
        if found:
            yield Finding("S201", content.mark.at(content.text, found.start()), f"{name} holds a secret", secret=True)
    yield from _sizes(loaded, built)


def _carried(part: Part, mark: Mark) -> Iterator[Finding]:
    """T002."""
    why = template.fault(part.value)
    if not why and part.attribute == "CONTEXT" and SEPARATOR in part.value:
        why = f"it contains {SEPARATOR}, with which OpenNebula separates variables"
    if why:
        yield Finding("T002", mark, f"{part.path} cannot be carried: {why}")


def _literal(part: Part, mark: Mark) -> Iterator[Finding]:
    """C101."""
    at = part.value.find("$")
    if at >= 0:
        yield Finding("C101", mark.at(part.value, at), f"$ in the literal value of {part.key}")


def _late(part: Part, mark: Mark, attributes: frozenset[str], nics: int) -> Iterator[Finding]:
    """C102."""
    try:
        pieces = late.parse(part.value)
    except late.Unreadable as e:
        yield Finding("C102", mark.at(part.value, e.at), f"{part.key}: {e}")
        return
    for piece in pieces:
        if isinstance(piece, Variable):
            why = late.unknown(piece, attributes, nics)
            if why:
                yield Finding("C102", mark.at(part.value, piece.at), f"{part.key}: {why}")


def _agent(part: Part, mark: Mark, agent: str) -> Iterator[Finding]:
    """C103.  In a late value, quotes inside of [...] are OpenNebula's own and do not reach the guest."""
    if agent != "one-context":
        return
    text = re.sub(r"\[[^\]]*\]", lambda m: "_" * len(m[0]), part.value) if part.how == "late" else part.value
    found = _BAD_FOR_ONE_CONTEXT.search(text)
    if found:
        yield Finding(
            "C103", mark.at(text, found.start()), f"{found[0]!r} in {part.key}: one-context does not quote it"
        )


def _secret(name: str, value: str, mark: Mark) -> Iterator[Finding]:
    """S201."""
    if SECRET_NAME.search(name.upper()) and value:
        yield Finding("S201", mark, f"{name} is the name of a secret", secret=True)
    elif SECRET_TEXT.search(value):
        yield Finding("S201", mark, f"the value of {name} looks like a secret", secret=True)


def _host(part: Part, mark: Mark, role: str) -> Iterator[Finding]:
    """C108, with a long VM id, and the name that OneFlow gives to a VM; of other variables nothing is known."""
    examples = {"VMID": "10000000", "NAME": f"{role}_0_(service_1)"}
    try:
        name = late.substituted(part.value, lambda v: examples.get(v.name, "x"))
    except late.Unreadable:
        return  # C102 says so
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        yield Finding("C108", mark, f"{name!r} is no host name")


def _sizes(loaded: Loaded, built: Built) -> Iterator[Finding]:
    """C104."""
    total = 0
    for part in built.parts:
        if part.attribute != "CONTEXT":
            continue
        size = len(part.key) + 1 + len(part.value.encode("utf-8", "surrogatepass"))
        total += size
        if size > LARGEST_VARIABLE:
            mark = part.mark or loaded.positions.key("roles", built.role)
            yield Finding("C104", mark, f"{part.key} has {size} bytes, more than {LARGEST_VARIABLE}")
    if total > LARGEST_CONTEXT:
        mark = loaded.positions.key("roles", built.role, "context")
        yield Finding("C104", mark, f"the context has {total} bytes, more than {LARGEST_CONTEXT}")

"""`explain`: where a value of a template comes from."""

from __future__ import annotations

from vafnebula import errors
from vafnebula.context.build import Built, Part

_HOW = {
    "literal": "written",
    "late": "written; OpenNebula substitutes it for each VM",
    "payload": "made of text or files, in base64; named",
    "default": "a default of the schema (docs/context-schema.md)",
    "made": "made by vafnebula from what is written",
}


def explain(built: Built, path: str) -> str:
    """What is known of `path`: NAME, CONTEXT.NAME or DISK.1.SIZE (numbers from 0).  Raises BadArgument."""
    found = [p for p in built.parts if path in (p.path, _counted(p)) or (p.attribute == "CONTEXT" and p.key == path)]
    if not found:
        known = ", ".join(sorted(_counted(p) for p in built.parts))
        raise errors.BadArgument(what="path", value=f"{built.role}.{path}", why=f"it is none of {known}")
    return "".join(_told(built.role, part) for part in found)


def _counted(part: Part) -> str:
    return f"{part.attribute}.{part.number}.{part.key}" if part.attribute in ("DISK", "NIC") else part.path


def _told(role: str, part: Part) -> str:
    value = f"{len(part.value)} characters of base64" if part.how == "payload" else repr(part.value)
    told = f"{role}.{_counted(part)} = {value}\n    {_HOW[part.how]}"
    if part.mark is None:
        return told + "\n"
    return f"{told} at {part.mark}\n{part.mark.shown()}\n"

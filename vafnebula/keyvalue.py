"""Files of `key = value` lines, read into a dataclass whose fields are the keys; # begins a comment."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from vafnebula import errors

T = TypeVar("T")


class Unusable(errors.SiteError):
    """A file of the set-up."""

    sentence = "{path}: {why}; correct it"


def load(path: str, kind: type[T]) -> T:
    """The `kind` in file `path`; its own ValueErrors are reported too.  Raises Unusable."""
    try:
        return kind(**_given(Path(path).read_text(encoding="utf-8"), kind))
    except OSError as e:
        raise Unusable(path=path, why=e.strerror) from e
    except (ValueError, TypeError) as e:
        raise Unusable(path=path, why=str(e).partition("__init__() ")[2] or str(e)) from e


def _given(text: str, kind: Any) -> dict[str, str | int]:
    """The keys that are set.  Raises ValueError."""
    known = {field.name: field.type for field in fields(kind)}
    given: dict[str, str | int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, sign, value = (part.strip() for part in line.partition("#")[0].partition("="))
        if not (key or sign):
            continue
        if key not in known or not sign:
            near = difflib.get_close_matches(key, known, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise ValueError(f"line {number}: unknown key {key!r}{hint}")
        if key in given:
            raise ValueError(f"line {number}: {key} is set twice")
        given[key] = int(value) if known[key] == "int" else value
    return given

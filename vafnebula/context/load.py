"""A file -> a checked definition with positions.  What does not fit becomes findings Y001 and Y002."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vafnebula import errors
from vafnebula.context import yamlfile
from vafnebula.context.definition import Definition
from vafnebula.context.findings import Finding, Invalid
from vafnebula.context.source import Mark, Source
from vafnebula.context.yamlfile import Positions

MAX_FILE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Loaded:
    """A definition, the directory that its files are in, and where everything was written."""

    path: Path
    definition: Definition
    positions: Positions

    @property
    def directory(self) -> Path:
        return self.path.parent

    @property
    def name(self) -> str:
        return self.definition.cluster.name


def load(path: Path) -> Loaded:
    """Read the definition at `path`.  Raises Invalid with all findings, BadArgument when it cannot be read."""
    source = Source(os.fspath(path), text(path))
    data, positions = yamlfile.read(source)
    return Loaded(path, checked(data, positions), positions)


def text(path: Path) -> str:
    """The UTF-8 text of a file.  Raises BadArgument."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as e:
        raise errors.BadArgument(what="file", value=str(path), why=str(e.strerror)) from e
    if len(content) > MAX_FILE:
        raise errors.BadArgument(what="file", value=str(path), why=f"it has more than {MAX_FILE} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise errors.BadArgument(what="file", value=str(path), why=f"it is not UTF-8 at byte {e.start}") from e


def checked(data: Any, positions: Positions) -> Definition:
    """The definition in plain data.  Raises Invalid."""
    try:
        return Definition.model_validate(data)
    except ValidationError as e:
        problems = e.errors(include_url=False, include_context=True)
        raise Invalid(positions.source.name, [_finding(p, data, positions) for p in problems]) from None


def _finding(problem: ErrorDetails, data: Any, positions: Positions) -> Finding:
    path = tuple(_real(problem["loc"], data))
    kind, last = problem["type"], str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = _known(path[:-1])
        near = difflib.get_close_matches(last, known, 1)
        fix = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return Finding("Y002", positions.key(*path), f"unknown key {last!r}", fix)
    if kind == "missing":
        return Finding("Y002", _parent(positions, path), f"key {last!r} is missing", "add it")
    message = str(problem["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        message = f"not of the form {problem['ctx']['pattern']}"
    place = positions.key(*path[:-1]) if path[-1:] == ("[key]",) else positions.value(*path)
    what = ".".join(str(p) for p in path if p != "[key]")
    return Finding("Y002", place, f"{what}: {message}" if what else message)


def _parent(positions: Positions, path: tuple[str | int, ...]) -> Mark:
    parent = path[:-1]
    return positions.key(*parent) if parent else positions.value()


def _real(loc: tuple[int | str, ...], data: Any) -> Iterator[int | str]:
    """`loc` without what is not in the file: the branch of a union, the key that a mere word stands for."""
    for i, step in enumerate(loc):
        last = i == len(loc) - 1
        if isinstance(data, Mapping) and (step in data or last):
            yield step
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            yield step
            data = data[step]
        elif (isinstance(data, Mapping) or (step == "[key]" and last)) and step == "[key]":
            yield step


def _known(path: tuple[str | int, ...]) -> list[str]:
    """The keys that the schema knows at `path`."""
    kinds: list[Any] = [Definition]
    for step in path:
        kinds = [k for kind in kinds for k in _below(kind, step)]
    return sorted({name for kind in kinds for name in kind.model_fields})


def _below(kind: type[BaseModel], step: str | int) -> list[Any]:
    if isinstance(step, int):
        return [kind]  # a list: its members were found with the list
    field = kind.model_fields.get(step)
    return list(_models(field.annotation)) if field else [kind]  # a name in a mapping


def _models(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)

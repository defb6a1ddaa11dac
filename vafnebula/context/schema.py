"""The JSON Schema for editors, and docs/context-schema.md: both made from `definition`."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vafnebula.context.definition import Definition, is_size

SCHEMA_ID = "https://vafnebula.invalid/schema/cluster.schema.json"


def json_schema() -> str:
    """share/schema/cluster.schema.json."""
    schema = Definition.model_json_schema(mode="validation")
    body = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}
    return json.dumps(body, indent=2, sort_keys=True) + "\n"


def document() -> str:
    """docs/context-schema.md."""
    head = (
        "# The definition of a cluster\n\n"
        "Made from `vafnebula/context/definition.py`; a test keeps it current. A key that is not here is an error.\n"
        "For editors there is a JSON Schema, `share/schema/cluster.schema.json`; begin a definition with\n"
        "`# yaml-language-server: $schema=PATH` and most editors check while you type.\n"
    )
    return head + "".join(_section(model) for model in _models(Definition))


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """`model` and all that its fields use, in the order of first use."""
    found = [model]
    for current in found:
        for field in current.model_fields.values():
            found += [m for m in _inside(field.annotation) if m not in found]
    return found


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _inside(inner)


def _section(model: type[BaseModel]) -> str:
    rows = "".join(_row(name, field) for name, field in model.model_fields.items())
    doc = " ".join((model.__doc__ or "").split())
    return f"\n## {model.__name__}\n\n{doc}\n\n| key | value | default | meaning |\n|---|---|---|---|\n{rows}"


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _default(field.default)
    kind = "size" if is_size(field.metadata) else _kind(field.annotation)
    return f"| `{name}` | {kind} | {default} | {field.description or ''} |\n"


def _default(value: Any) -> str:
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, BaseModel):
        given = value.model_dump(exclude_defaults=True)
        return ", ".join(f"{k}: {v}" for k, v in given.items())
    if isinstance(value, int) and value >= 1 << 20:
        return f"{value >> 30}GiB"
    return str(value)


def _kind(annotation: Any) -> str:
    origin, args = get_origin(annotation), [a for a in get_args(annotation) if a is not type(None)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if origin is Annotated:
        return "size" if is_size(args[1:]) else _kind(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(a) for a in args)
    if origin is tuple:
        return f"list of {_kind(args[0])}"
    if origin is dict:
        return f"name: {_kind(args[1])}"
    if origin is not None:  # Literal
        return ", ".join(f"`{a}`" for a in args)
    return {"str": "text", "int": "number", "float": "number", "bool": "true, false"}.get(
        getattr(annotation, "__name__", ""), "anything"
    )

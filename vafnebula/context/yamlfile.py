"""YAML -> plain data and the place of every value and key.

The library gives nodes with marks; making data of them is done here, so that duplicate keys are refused, a merged
or aliased value keeps the place where it was written, and nothing but plain data can come out (no tags, no objects).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Union

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from vafnebula.context.findings import Finding, Invalid
from vafnebula.context.source import Mark, Source

Path = tuple[Union[str, int], ...]

MAX_DEPTH = 40
MAX_VALUES = 20_000
"""An alias counts once per use: a small file cannot become a large one."""

_TAG = "tag:yaml.org,2002:"


@dataclass
class Positions:
    """Where the value, and the key, of a path was written; a path without a place has that of its parent."""

    source: Source
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)

    def value(self, *path: str | int) -> Mark:
        return self._nearest(self.values, path)

    def key(self, *path: str | int) -> Mark:
        return self.keys[path] if path in self.keys else self.value(*path)

    def _nearest(self, places: dict[Path, Mark], path: Path) -> Mark:
        while path and path not in places:
            path = path[:-1]
        return places.get(path, Mark(self.source))


def read(source: Source) -> tuple[Any, Positions]:
    """The data and positions of a YAML 1.2 document.  Raises Invalid."""
    return _Reader(source).read()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.positions = Positions(source)
        self.count = 0

    def read(self) -> tuple[Any, Positions]:
        try:
            node = YAML(typ="safe", pure=True).compose(self.source.text)
        except MarkedYAMLError as e:
            where = e.problem_mark or e.context_mark
            line, column = (where.line, where.column) if where else (0, 0)
            raise self._invalid(Mark(self.source, line + 1, column + 1), str(e.problem or e.context)) from e
        except (YAMLError, ValueError, RecursionError) as e:
            raise self._invalid(Mark(self.source), f"it is not YAML: {str(e).splitlines()[0]}") from e
        if node is None:
            raise self._invalid(Mark(self.source), "the file is empty")
        return self._data(node, (), 0), self.positions

    def _invalid(self, mark: Mark, message: str) -> Invalid:
        return Invalid(self.source.name, [Finding("Y001", mark, message)])

    def _mark(self, node: Node) -> Mark:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        style = getattr(node, "style", None)
        if style == ">":
            return Mark(self.source, line, column, exact=False)
        if style == "|":
            first = self.source.line(line + 1)
            return Mark(self.source, line, column, block=True, indent=len(first) - len(first.lstrip(" ")))
        if style in ("'", '"'):
            column += 1
        return Mark(self.source, line, column, exact=self._exact(node, column))

    def _exact(self, node: Node, column: int) -> bool:
        return not isinstance(node, ScalarNode) or self.source.line(node.start_mark.line + 1).startswith(
            str(node.value), column - 1
        )

    def _data(self, node: Node, path: Path, depth: int) -> Any:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            raise self._invalid(self._mark(node), "too deep or too many values (aliases count at each use)")
        self.positions.values[path] = self._mark(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self._data(child, path + (i,), depth + 1) for i, child in enumerate(node.value)]  # noqa: RUF005
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, child in self._pairs(node, depth):
            name = key.value
            below = (*path, name)
            self.positions.keys[below] = self._mark(key)
            data[name] = self._data(child, below, depth + 1)
        return data

    def _pairs(self, node: MappingNode, depth: int) -> Iterator[tuple[ScalarNode, Node]]:
        """Keys and values, what `<<` merges first and overridden by the mapping's own."""
        own: dict[str, tuple[ScalarNode, Node]] = {}
        merged: dict[str, tuple[ScalarNode, Node]] = {}
        if depth > MAX_DEPTH:
            raise self._invalid(self._mark(node), "too deep")
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                raise self._invalid(self._mark(key), "a key must be a word")
            if key.value == "<<" and key.style is None:
                for base in child.value if isinstance(child, SequenceNode) else [child]:
                    if not isinstance(base, MappingNode):
                        raise self._invalid(self._mark(base), "<< merges mappings only")
                    for pair in self._pairs(base, depth + 1):
                        merged.setdefault(pair[0].value, pair)
            elif key.value in own:
                raise self._invalid(self._mark(key), f"duplicate key {key.value!r}")
            else:
                own[key.value] = (key, child)
        yield from (merged | own).values()

    def _scalar(self, node: Any) -> Any:
        text, tag = node.value, str(node.tag)
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool":
            return text.lower() == "true"
        if tag == _TAG + "int":
            return self._number(int, text, node)
        if tag == _TAG + "float":
            return self._number(float, text, node)
        if tag in (_TAG + "str", _TAG + "timestamp", "!"):
            return text
        raise self._invalid(self._mark(node), f"tag {tag} is not known here")

    def _number(self, kind: type[int] | type[float], text: str, node: Node) -> Any:
        try:
            return int(text, 0) if kind is int and text[:2] in ("0x", "0o") else kind(text)
        except ValueError:
            raise self._invalid(self._mark(node), f"{text!r} is not a number; quote it if it is text") from None

"""OpenNebula's template text and XML as a typed tree: one serializer, one parser of the same grammar.

The grammar is OpenNebula's (src/parsers/template_parser.l and .y), which has traps that no other client avoids:

* In quotes `\\"` is the only escape.  Every other backslash is itself, so a value cannot end with one: it would take
  the closing quote, and with it the next attribute.
* A quote after a backslash never closes, whatever is before the backslash.
* The longest match wins: `"x"` followed by a carriage return is a bare word with quotes in it.  Nobody means that, so
  here it is an error.
* `]]>` cannot be written at all, because the core stores a template as XML with CDATA.
* In a vector the first of two equal keys wins, silently.  Here that is an error.

What cannot arrive unchanged is refused by `check`, before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union
from xml.sax.saxutils import escape

from vafnebula.one import xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_NAME = re.compile(r"[A-Za-z0-9_]+")
_XML_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_BLANKS = re.compile(r"[ \t]*")
_SPACE = re.compile(r"[ \t\n]*")
_BARE = re.compile(r"[^=# \t\n,\[\]]+")
_EQUAL = re.compile(r"[ \t]*=[ \t]*")
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


class Malformed(ValueError):
    """Text that is not a template.  `line` and `column` count from 1 and say where it stops being one."""

    def __init__(self, why: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"line {line}, column {column}: {why}")
        self.why, self.line, self.column = why, line, column


class Unwritable(ValueError):
    """A value or name that OpenNebula's grammar cannot carry; `where` is its name, as in CONTEXT/MOTD."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


@dataclass(frozen=True)
class Single:
    """NAME = "value"."""

    name: str
    value: str


@dataclass(frozen=True)
class Vector:
    """NAME = [ KEY = "value", ... ]: flat, keys unique, in the order of writing."""

    name: str
    items: tuple[tuple[str, str], ...]

    def get(self, key: str, default: str = "") -> str:
        return dict(self.items).get(key, default)


Attribute = Union[Single, Vector]


@dataclass(frozen=True)
class Template:
    """Attributes in order.  A name may occur several times (DISK, NIC)."""

    attributes: tuple[Attribute, ...]

    def single(self, name: str, default: str = "") -> str:
        """The value of the first single attribute `name`."""
        return next((a.value for a in self.attributes if isinstance(a, Single) and a.name == name), default)

    def vectors(self, name: str) -> list[Vector]:
        return [a for a in self.attributes if isinstance(a, Vector) and a.name == name]


def vector(name: str, items: Mapping[str, str]) -> Vector:
    """A vector with its keys sorted: what is written is then the same on every run."""
    return Vector(name, tuple(sorted(items.items())))


def fault(value: str) -> str:
    """Why `value` cannot be carried, or ''."""
    if value.endswith("\\"):
        return "it ends with a backslash, which would escape the closing quote"
    if "]]>" in value:
        return "it contains ]]>, which ends the CDATA that OpenNebula stores it in"
    found = _FORBIDDEN.search(value)
    if found:
        return f"it contains the character U+{ord(found[0]):04X}, which XML changes or forbids"
    return ""


def check(template: Template) -> None:
    """Raise Unwritable unless every name and value of `template` can arrive unchanged."""
    for attribute in template.attributes:
        _check_name(attribute.name, attribute.name)
        if isinstance(attribute, Single):
            _check_value(attribute.name, attribute.value)
            continue
        seen: set[str] = set()
        for key, value in attribute.items:
            where = f"{attribute.name}/{key}"
            _check_name(where, key)
            if key in seen:
                raise Unwritable(where, "the key occurs twice, and OpenNebula would keep the first only")
            seen.add(key)
            _check_value(where, value)


def _check_name(where: str, name: str) -> None:
    if not _XML_NAME.fullmatch(name):
        raise Unwritable(where, "a name has A-Z, 0-9 and _ only, and does not begin with a digit")


def _check_value(where: str, value: str) -> None:
    why = fault(value)
    if why:
        raise Unwritable(where, why)


def serialize(template: Template) -> str:
    """The text of `template`, one attribute or vector item per line.  Raises Unwritable."""
    check(template)
    return "".join(_written(a) for a in template.attributes)


def _written(attribute: Attribute) -> str:
    if isinstance(attribute, Single):
        return f"{attribute.name} = {_quoted(attribute.value)}\n"
    if not attribute.items:
        return f"{attribute.name} = [ ]\n"
    body = ",\n".join(f"  {key} = {_quoted(value)}" for key, value in attribute.items)
    return f"{attribute.name} = [\n{body} ]\n"


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '\\"') + '"'


def to_xml(template: Template) -> str:
    """The XML form of `template`, as the API also takes it.  Raises Unwritable.

    Characters are escaped rather than put into CDATA: nothing in a value can then end it.
    """
    check(template)
    return f"<TEMPLATE>{''.join(_element(a) for a in template.attributes)}</TEMPLATE>"


def _element(attribute: Attribute) -> str:
    if isinstance(attribute, Single):
        inner = escape(attribute.value)
    else:
        inner = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in attribute.items)
    return f"<{attribute.name}>{inner}</{attribute.name}>"


def from_xml(document: bytes | str) -> Template:
    """The tree of `<TEMPLATE>...</TEMPLATE>`, alone or inside a VMTEMPLATE or VM.  Raises Malformed.

    An empty element is a single attribute with the empty value: XML does not tell it from an empty vector.
    """
    try:
        root = xml.parse(document.encode() if isinstance(document, str) else document)
    except ValueError as e:
        raise Malformed(str(e)) from e
    return from_element(root)


def from_element(root: Element) -> Template:
    """The tree of an element that is, or has, a TEMPLATE.  Raises Malformed."""
    body = root if root.tag == "TEMPLATE" else root.find("TEMPLATE")
    if body is None:
        raise Malformed(f"there is no TEMPLATE in {root.tag[:40]}")
    attributes: list[Attribute] = []
    for element in body:
        if len(element):
            attributes.append(Vector(element.tag, tuple((c.tag, c.text or "") for c in element)))
        else:
            attributes.append(Single(element.tag, element.text or ""))
    return Template(tuple(attributes))


def parse(text: str) -> Template:
    """The tree of template text, names in upper case as OpenNebula makes them.  Raises Malformed."""
    return Template(tuple(_Reader(text).attributes()))


class _Reader:
    """A position in a text.  Each method reads one thing and moves behind it."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def attributes(self) -> Iterator[Attribute]:
        self._skip()
        while self.at < len(self.text):
            yield self._attribute()
            self._skip()

    def _skip(self) -> None:
        """White space, and comments, which must end with a newline."""
        while True:
            self._take(_SPACE)
            if not self.text.startswith("#", self.at):
                return
            end = self.text.find("\n", self.at)
            if end < 0:
                self._fail("a comment that no newline ends")
            self.at = end + 1

    def _attribute(self) -> Attribute:
        name = self._name()
        self._equal(name)
        if self.text.startswith("\n", self.at):
            return Single(name, "")
        if not self.text.startswith("[", self.at):
            return Single(name, self._value())
        self.at += 1
        return Vector(name, tuple(self._items()))

    def _items(self) -> Iterable[tuple[str, str]]:
        items: dict[str, str] = {}
        self._skip()
        if self._found("]"):
            return []
        while True:
            start = self.at
            key = self._name()
            if key in items:
                self.at = start
                self._fail(f"key {key} occurs twice; OpenNebula would keep the first only")
            self._equal(key)
            if self.text.startswith("[", self.at):
                self._fail("a vector inside a vector")
            items[key] = self._value()
            self._skip()
            if self._found("]"):
                return items.items()
            if not self._found(","):
                self._fail("a comma or ] is missing")
            self._skip()
            if self.text.startswith("]", self.at):
                self._fail("a comma before ]")

    def _name(self) -> str:
        return self._must(_NAME, "a name (A-Z, 0-9, _) is missing").upper()

    def _equal(self, name: str) -> None:
        self._must(_EQUAL, f"= is missing after {name}")

    def _value(self) -> str:
        """A quoted or bare value: the longer one, as flex does it."""
        quoted = self._closing()
        bare = _BARE.match(self.text, self.at)
        if quoted is not None and (bare is None or bare.end() <= quoted + 1):
            value = self.text[self.at + 1 : quoted].replace('\\"', '"')
            if "]]>" in value:
                self._fail("a value with ]]>")
            self.at = quoted + 1
            return value
        if self.text.startswith('"', self.at):
            self._fail("a quote that is never closed" if quoted is None else "text directly after a closing quote")
        return self._must(_BARE, "a value is missing").replace('\\"', '"')

    def _closing(self) -> int | None:
        """Where the quoted value that starts here ends: at the first quote without a backslash before it."""
        if not self.text.startswith('"', self.at):
            return None
        end = self.text.find('"', self.at + 1)
        while end >= 0 and self.text[end - 1] == "\\":
            end = self.text.find('"', end + 1)
        return None if end < 0 else end

    def _found(self, mark: str) -> bool:
        if self.text.startswith(mark, self.at):
            self.at += 1
            return True
        return False

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found[0]

    def _must(self, pattern: re.Pattern[str], why: str) -> str:
        taken = self._take(pattern)
        if not taken:
            self._fail(why)
        return taken

    def _fail(self, why: str) -> None:
        line = self.text.count("\n", 0, self.at) + 1
        raise Malformed(why, line, self.at - self.text.rfind("\n", 0, self.at))

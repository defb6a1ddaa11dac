"""What a network driver gives its hooks on stdin: the VM as XML in base64, with parts that the VM's owner wrote.

The document has several sibling TEMPLATE elements with one child each; `onevm show -x` prints the same paths in one.
Only what isolation needs is kept: CONTEXT, with its secrets, is never stored.  Document types and entities are
refused; sizes are bounded.
"""

from __future__ import annotations

import binascii
import pyexpat

from vafnebula import errors
from vafnebula.node.isolation.record import record

BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
MAX_BYTES = 16 * 1024 * 1024
MAX_VALUE = 64 * 1024
MAX_DEPTH = 32
MAX_NICS = 1024
KINDS = ("NIC", "NIC_ALIAS", "PCI")
OURS = "VAF_"


@record
class Element:
    """A NIC, NIC_ALIAS or PCI: `values` holds its children's texts by name."""

    kind: str
    values: dict[str, str]

    def get(self, name: str) -> str:
        return self.values.get(name, "").strip()


@record
class VmXml:
    """A VM: its id as text, its elements in order, and the names of VAF_* attributes in USER_TEMPLATE."""

    vm: str
    elements: tuple[Element, ...]
    user_names: tuple[str, ...]


def decode(data: bytes) -> bytes:
    """The XML inside stdin's base64; XML itself is taken as it is.  Raises BadArgument."""
    if len(data) > MAX_BYTES:
        raise _bad(f"longer than {MAX_BYTES} bytes")
    if data.lstrip()[:1] == b"<":
        return data
    compact = data.translate(None, b" \t\r\n")
    if compact.translate(None, BASE64):  # Python skips them, and with them what else may be wrong
        raise _bad("not base64 (other characters)")
    try:
        return binascii.a2b_base64(compact)
    except binascii.Error as e:
        raise _bad(f"not base64 ({e})") from e


def parse(data: bytes) -> VmXml:
    """The VM in `data` (stdin as it came).  Raises BadArgument, and nothing else, for whatever cannot be one."""
    reader = _Reader()
    expat = pyexpat.ParserCreate()
    expat.buffer_text = True
    expat.StartElementHandler = reader.start
    expat.EndElementHandler = reader.end
    expat.CharacterDataHandler = reader.text
    expat.StartDoctypeDeclHandler = expat.EntityDeclHandler = _refuse_doctype
    expat.SetParamEntityParsing(pyexpat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        expat.Parse(decode(data), True)
    except (pyexpat.ExpatError, ValueError, LookupError) as e:  # the last two: an encoding Python does not know
        raise _bad(f"not well-formed XML ({e})") from e
    if not reader.vm:
        raise _bad("no VM/ID in it")
    return VmXml(reader.vm, tuple(reader.elements), tuple(sorted(reader.user_names)))


def _refuse_doctype(*_: object) -> None:
    raise _bad("it has a document type or entities")


def _bad(why: str) -> errors.BadArgument:
    return errors.BadArgument(what="VM description", value="stdin", why=why)


class _Reader:
    """Collects while the parser walks.  `path` is the list of open elements' names."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.vm = ""
        self.elements: list[Element] = []
        self.user_names: set[str] = set()
        self._text = ""

    def start(self, name: str, _attributes: object) -> None:
        self.path.append(name)
        depth = len(self.path)
        if depth > MAX_DEPTH:
            raise _bad(f"nested deeper than {MAX_DEPTH} elements")
        if depth == 1 and name != "VM":
            raise _bad("its root is not VM")
        if depth == 3 and self.path[1] == "TEMPLATE" and name in KINDS:
            if len(self.elements) >= MAX_NICS:
                raise _bad(f"more than {MAX_NICS} NICs")
            self.elements.append(Element(name, {}))
        elif depth == 3 and self.path[1] == "USER_TEMPLATE" and name.upper().startswith(OURS):
            self.user_names.add(name)
        self._text = ""

    def text(self, data: str) -> None:
        if self._wanted():
            self._text += data
            if len(self._text) > MAX_VALUE:
                raise _bad(f"{self.path[-1]} is longer than {MAX_VALUE} characters")

    def end(self, name: str) -> None:
        if self._wanted():
            if len(self.path) == 2:
                self.vm = self._once(name, self.vm)
            else:
                values = self.elements[-1].values
                values[name] = self._once(name, values.get(name, ""))
        self._text = ""
        self.path.pop()

    def _wanted(self) -> bool:
        path = self.path
        return (len(path) == 4 and path[1] == "TEMPLATE" and path[2] in KINDS) or path == ["VM", "ID"]

    def _once(self, name: str, before: str) -> str:
        if before:
            raise _bad(f"{name} is given twice")
        return self._text

"""Where things were written: texts, and places in them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A text with the name that a person knows it by."""

    name: str
    text: str = field(repr=False)

    def line(self, number: int) -> str:
        """Line `number`, counted from 1; '' when there is none."""
        lines = self.text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""


@dataclass(frozen=True)
class Mark:
    """A place in a source: line and column count from 1, columns in characters.

    `block` says that a YAML block scalar starts here: its text begins on the next line, `indent` blanks in.
    `exact` is False when the text that starts here is not the value itself (escapes, folded lines).
    """

    source: Source
    line: int = 1
    column: int = 1
    block: bool = False
    indent: int = 0
    exact: bool = True

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def inside(self, line: int, column: int) -> Mark:
        """The place of line and column (from 1) of the text that starts here."""
        if not self.exact:
            return self
        if self.block:
            return Mark(self.source, self.line + line, self.indent + column)
        if line == 1:
            return Mark(self.source, self.line, self.column + column - 1)
        return Mark(self.source, self.line + line - 1, column)

    def at(self, text: str, offset: int) -> Mark:
        """The place of character `offset` of `text`, which starts here."""
        return self.inside(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))

    def shown(self) -> str:
        """The line and a caret below it, for a person; tabs stay tabs, so that the caret stands right."""
        line = self.source.line(self.line).rstrip("\r\n")
        before = "".join("\t" if c == "\t" else " " for c in line[: self.column - 1])
        safe = "".join(c if c.isprintable() or c == "\t" else "?" for c in line)
        return f"    {safe}\n    {before}^"

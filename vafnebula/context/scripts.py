"""Files beside a definition: read within its directory, and rendered when they end in `.j2`.

Templates run in Jinja2's sandbox, an undefined name is an error, and nothing is escaped behind the author's back: in a
shell script every value passes through the filter `sh` (or `b64`), which rule C109 enforces.
"""

from __future__ import annotations

import base64
import shlex
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import SandboxedEnvironment

from vafnebula import errors
from vafnebula.context import load
from vafnebula.context.findings import Finding, Invalid
from vafnebula.context.source import Mark, Source

SUFFIX = ".j2"
SAFE_FILTERS = ("sh", "b64")


@dataclass(frozen=True)
class Content:
    """Bytes for the guest, and where their first character was written."""

    data: bytes
    mark: Mark

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    @property
    def shell(self) -> str:
        """The shell that runs it: sh, bash, dash, or '' when it is something else."""
        first = self.text.split("\n", 1)[0]
        words = first[2:].split() if first.startswith("#!") else []
        if words and words[0].endswith("/env"):
            words = words[1:]
        name = words[0].rsplit("/", 1)[-1].strip() if words else ""
        return name if name in ("sh", "bash", "dash") else ""


def read(directory: Path, name: str, values: Mapping[str, Any], said: Mark) -> Content:
    """The content of file `name`, rendered with `values` if it is a template.

    `said` is where the definition names it.  Raises Invalid with Y003.
    """
    path = confined(directory, name, said)
    if name.endswith(SUFFIX):
        source = Source(str(directory / name), load.text(path))
        rendered = _Renderer(directory, said).render(name, source, values)
        return Content(rendered.encode(), Mark(Source(f"{source.name} (rendered)", rendered)))
    try:
        data = path.read_bytes()
    except OSError as e:
        raise _invalid(said, f"{name} cannot be read: {e.strerror}") from e
    if len(data) > load.MAX_FILE:
        raise _invalid(said, f"{name} has more than {load.MAX_FILE} bytes")
    return Content(data, Mark(Source(str(directory / name), data.decode("utf-8", "replace"))))


def members(directory: Path, name: str, target: str, said: Mark) -> Iterator[tuple[str, str]]:
    """(source, path in the guest) of a file, or of all files below a directory, in order.

    Hidden files and Python's caches stay behind.  Raises Invalid when the directory leads out.
    """
    top = (directory / name).resolve()
    if not top.is_dir():
        yield name, target
        return
    if not top.is_relative_to(directory.resolve()):
        raise _invalid(said, f"{name} leads out of the definition's directory")
    for path in sorted(p for p in top.rglob("*") if p.is_file()):
        below = path.relative_to(top)
        if not any(part.startswith((".", "__pycache__")) for part in below.parts):
            yield f"{name}/{below}", f"{target}/{str(below).removesuffix(SUFFIX)}"


def confined(directory: Path, name: str, said: Mark) -> Path:
    """The file `name` below `directory`, links followed.  Raises Invalid when it is not there or leads out."""
    path = (directory / name).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise _invalid(said, f"{name} leads out of the definition's directory")
    if not path.is_file():
        raise _invalid(said, f"{name} is no file beside the definition")
    return path


def unquoted(directory: Path, name: str, said: Mark) -> Iterator[Finding]:
    """C109: every {{ ... }} of shell template `name`, and of what it includes, that no safe filter ends."""
    renderer = _Renderer(directory, said)
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        source = Source(str(directory / current), load.text(confined(directory, current, said)))
        tree = renderer.parse(current, source)
        waiting += [name for node in tree.find_all((nodes.Include, nodes.Extends)) for name in _constant(node)]
        for output in tree.find_all(nodes.Output):
            for node in output.nodes:
                if not isinstance(node, nodes.TemplateData) and not _safe(node):
                    column = source.line(node.lineno).find("{{") + 1
                    mark = Mark(source, node.lineno, max(column, 1))
                    yield Finding("C109", mark, "a value goes into a shell script unquoted")


def _constant(node: Any) -> list[str]:
    named = node.template
    return [named.value] if isinstance(named, nodes.Const) and isinstance(named.value, str) else []


def _safe(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Filter) and node.name in SAFE_FILTERS


class _Renderer:
    def __init__(self, directory: Path, said: Mark) -> None:
        self.directory, self.said = directory, said
        self.environment = SandboxedEnvironment(  # for shell and plain files: HTML's escapes would be wrong
            loader=FunctionLoader(self._load),
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
        )
        self.environment.filters["sh"] = lambda value: shlex.quote(str(value))
        self.environment.filters["b64"] = lambda value: base64.b64encode(str(value).encode()).decode()

    def _load(self, name: str) -> tuple[str, str, None]:
        path = confined(self.directory, name, self.said)
        return load.text(path), str(self.directory / name), None

    def parse(self, name: str, source: Source) -> nodes.Template:
        try:
            return self.environment.parse(source.text, name, source.name)
        except TemplateSyntaxError as e:
            raise self._at(e.lineno, e.filename or source.name, source, str(e.message)) from e

    def render(self, name: str, source: Source, values: Mapping[str, Any]) -> str:
        try:
            return self.environment.get_template(name).render(values)
        except TemplateSyntaxError as e:
            raise self._at(e.lineno, e.filename or source.name, source, str(e.message)) from e
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as e:
            frames = [f for f in traceback.extract_tb(e.__traceback__) if f.filename.startswith(str(self.directory))]
            line, file = (frames[-1].lineno or 1, frames[-1].filename) if frames else (1, source.name)
            raise self._at(line, file, source, str(e)) from e

    def _at(self, line: int, file: str, source: Source, message: str) -> Invalid:
        if file != source.name:
            source = Source(file, load.text(Path(file)))
        text = source.line(line)
        column = len(text) - len(text.lstrip()) + 1
        return _invalid(Mark(source, line, column), errors.one_line(message))


def _invalid(mark: Mark, message: str) -> Invalid:
    return Invalid(mark.source.name, [Finding("Y003", mark, message)])

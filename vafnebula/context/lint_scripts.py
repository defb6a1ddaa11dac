"""Rules about scripts: C107 by the shells themselves, C109 by the template's syntax tree."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

from vafnebula import errors, process
from vafnebula.context import scripts
from vafnebula.context.build import Built
from vafnebula.context.findings import Finding
from vafnebula.context.load import Loaded
from vafnebula.context.scripts import Content

_LINE = re.compile(r"(?:^|[:\s])(?:line )?(\d+): (.*)")


def check(loaded: Loaded, built: Built) -> Iterator[Finding]:
    for name, content in built.contents.items():
        yield from _script(content, must_run=name == "script")
    yield from _templates(loaded, built)


def _script(content: Content, must_run: bool) -> Iterator[Finding]:
    text = content.text
    if not text.startswith("#!"):
        if must_run:
            yield Finding("C107", content.mark.inside(1, 1), "a script without shebang", "begin it with #!/bin/sh")
        return
    carriage = text.find("\r\n")
    if carriage >= 0:
        yield Finding("C107", content.mark.at(text, carriage), "a script with CR LF line ends")
        return
    shell = content.shell
    if shell and shutil.which(shell):
        yield from _syntax(content, shell)


def _syntax(content: Content, shell: str) -> Iterator[Finding]:
    """What `shell -n` says: it reads the script and runs nothing of it."""
    try:
        done = process.run([shell, "-n"], timeout=20, input=content.data, check=False)
    except errors.CommandFailed as e:
        yield Finding("C107", content.mark.inside(1, 1), f"{shell} cannot read it: {e}")
        return
    if done.code == 0:
        return
    said = done.err.decode(errors="replace").splitlines()
    found = _LINE.search(said[0]) if said else None
    line, message = (int(found[1]), found[2]) if found else (1, done.why)
    line = min(line, content.text.rstrip("\n").count("\n") + 1)
    first = content.text.split("\n")[line - 1]
    place = content.mark.inside(line, len(first) - len(first.lstrip()) + 1)
    yield Finding("C107", place, f"{shell}: {errors.one_line(message)}")


def _templates(loaded: Loaded, built: Built) -> Iterator[Finding]:
    role = loaded.definition.roles[built.role]
    named = []
    if role.context.script and role.context.script.source:
        mark = loaded.positions.value("roles", built.role, "context", "script")
        named.append((role.context.script.source, "script", mark))
    for i, file in enumerate(role.context.files):
        mark = loaded.positions.value("roles", built.role, "context", "files", i)
        sources = scripts.members(loaded.directory, file.source, file.path, mark)
        named += [(source, source, mark) for source, _ in sources]
    for source, key, mark in named:
        if source.endswith(scripts.SUFFIX) and built.contents[key].shell:
            yield from scripts.unquoted(loaded.directory, source, mark)

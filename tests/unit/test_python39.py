"""The node half, the core and the program of guests run on Python 3.9, the oldest a supported distribution has."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vafnebula

PACKAGE = Path(vafnebula.__file__).parent
FILES = sorted([*PACKAGE.glob("*.py"), *(PACKAGE / "node").rglob("*.py"), *(PACKAGE / "join").rglob("*.py")])
MODULES = [".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for p in FILES]


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_the_syntax_is_not_newer(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))


def test_no_name_of_the_standard_library_is_newer() -> None:
    vermin = [sys.executable, "-c", "import vermin; vermin.main()", "-t=3.9-", "--no-tips", "--violations"]
    done = subprocess.run([*vermin, *map(str, FILES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@functools.cache
def python39() -> str:
    """A Python 3.9 that runs, '' when this machine has none."""
    for candidate in candidates():
        try:
            done = subprocess.run([candidate, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True)
        except OSError:
            continue
        if done.stdout == b"(3, 9)\n":
            return candidate
    return ""


def candidates() -> Iterator[str]:
    yield os.environ.get("PYTHON39", "python3.9")
    yield "/usr/bin/python3.9"
    for place in (".pyenv/versions/3.9*/bin/python3.9", ".local/share/uv/python/cpython-3.9*/bin/python3.9"):
        yield from map(str, Path.home().glob(place))


def test_every_module_runs_on_python_39() -> None:
    if not python39():
        pytest.skip("no python3.9 here (name one in $PYTHON39): syntax and names were checked, nothing was run")
    code = f"""
import importlib, sys
sys.path.insert(0, {str(PACKAGE.parent)!r})
for name in {[m for m in MODULES if not m.endswith("__main__")]!r}:
    importlib.import_module(name)
from typing import get_type_hints
from vafnebula import model, __version__
from vafnebula.node import main
from vafnebula.node.host import Host
ref = model.DiskRef(7, 0, 0, 0, "/ds/0/7")
order = model.Order(__version__, model.Clone(ref, model.Image(1, "/nowhere/img"), 0))
reply = main.answer(order.to_json(), Host())
print(model.Reply.from_json(reply.to_json()).error)
"""
    done = subprocess.run([python39(), "-I", "-S", "-B", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ImageMissing\n", "")

"""Who may import whom, and who may start programs: the rules of the map, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vafnebula.context import start

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "vafnebula"
CORE = {f"vafnebula.{f.stem}" for f in PACKAGE.glob("*.py") if f.stem != "__init__"} | {"vafnebula"}
STARTS_PROGRAMS = {"subprocess", "pty", "multiprocessing"}
STARTERS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}


def module(file: Path) -> str:
    name = ".".join(file.relative_to(CHECKOUT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module(f): f for f in sorted(PACKAGE.rglob("*.py"))}


def below(*packages: str) -> list[str]:
    return [m for m in MODULES if any(m == f"vafnebula.{p}" or m.startswith(f"vafnebula.{p}.") for p in packages)]


def imports(name: str) -> Iterator[str]:
    """Every module that `name` imports anywhere in its text; `from a import b` counts as a.b if that is a module."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def standard(name: str) -> bool:
    return name.split(".")[0] in sys.stdlib_module_names


def ours(name: str, *packages: str) -> bool:
    return name in CORE or any(name == f"vafnebula.{p}" or name.startswith(f"vafnebula.{p}.") for p in packages)


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_imports_itself_and_the_standard_library(name: str) -> None:
    assert [i for i in imports(name) if not standard(i) and not ours(i)] == []


@pytest.mark.parametrize("name", below("node"))
def test_the_node_half_imports_the_core_itself_and_the_standard_library(name: str) -> None:
    assert [i for i in imports(name) if not standard(i) and not ours(i, "node")] == []


@pytest.mark.parametrize("name", below("join"))
def test_the_program_of_guests_imports_what_travels_with_it(name: str) -> None:
    """What `init` puts beside a definition, and the standard library."""
    shipped = {f"vafnebula.{part.removesuffix('.py').replace('/', '.')}" for part in start.PROGRAM}
    assert [i for i in imports(name) if not standard(i) and i not in {*shipped, "vafnebula.join"}] == []


@pytest.mark.parametrize("name", below("tm", "one"))
def test_the_front_end_half_needs_only_the_standard_library(name: str) -> None:
    """The stubs run under -I -S: with nothing else importable."""
    assert [i for i in imports(name) if not standard(i) and not ours(i, "tm", "one")] == []


@pytest.mark.parametrize("name", below("one"))
def test_opennebulas_side_knows_no_consumer(name: str) -> None:
    assert [i for i in imports(name) if not standard(i) and not ours(i, "one")] == []


@pytest.mark.parametrize("name", below("access"))
def test_access_needs_only_the_standard_library(name: str) -> None:
    """sshd starts it for every login, on a system's Python."""
    assert [i for i in imports(name) if not standard(i) and not ours(i, "access")] == []


@pytest.mark.parametrize("part", ["tm", "context", "scale", "join", "access"])
def test_the_parts_never_import_each_other(part: str) -> None:
    others = {"tm", "context", "scale", "join", "access"} - {part}
    for name in below(part):
        assert [i for i in imports(name) if any(i.startswith(f"vafnebula.{o}") for o in others)] == [], name


@pytest.mark.parametrize("name", MODULES)
def test_only_one_file_starts_programs(name: str) -> None:
    """vafnebula.process, its twin for the network hooks, and in the lab whatever must become a machine: nothing else,
    and never through a shell."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "shell":
            assert isinstance(node.value, ast.Constant), name
            assert node.value.value is False, name
    if name == "vafnebula.process" or name.startswith("vafnebula.lab"):
        return
    if name == "vafnebula.node.isolation.spawn":  # the same for a hook that cannot afford the 20 ms of subprocess
        return
    assert STARTS_PROGRAMS.isdisjoint(i.split(".")[0] for i in imports(name)), name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in STARTERS, name
            assert not node.attr.startswith("spawn"), name
            if not name.startswith("vafnebula.cli"):  # a command may end by becoming ssh
                assert not node.attr.startswith("exec"), name


@pytest.mark.parametrize("part", ["node", "tm", "one", "join", "access"])
def test_the_closure_imports_without_site_packages(part: str) -> None:
    """What a node gets, and what a stub starts: with the directory above our package and nothing else."""
    program = (
        "import sys, importlib\nsys.path.insert(0, sys.argv[1])\nfor m in sys.argv[2:]: importlib.import_module(m)"
    )
    names = [m for m in below(part) if not m.endswith(".__main__")]
    subprocess.run([sys.executable, "-I", "-S", "-c", program, CHECKOUT, *names], check=True, capture_output=True)

"""What stands between a user and a booting VM must not import what costs more than the hook's own work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[4]
HEAVY = {"argparse", "dataclasses", "inspect", "ipaddress", "json", "pathlib", "re", "socket", "subprocess", "typing"}
WAY_OF_PRE = ("hook", "deeds")


def test_the_way_of_pre_imports_nothing_heavy() -> None:
    modules = ", ".join(f"vafnebula.node.isolation.{m}" for m in WAY_OF_PRE)
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import {modules}; print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-c", code]
    loaded = set(subprocess.run(argv, capture_output=True, check=True, text=True).stdout.split())
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("verb", ["pre", "post", "clean"])
def test_beside_a_hook_stands_nothing(verb: str) -> None:
    """OpenNebula runs every executable in the directory, directories included."""
    (only,) = (CHECKOUT / f"hooks/vnm/{verb}.d").iterdir()
    assert only.name == "50-vafnebula"
    assert only.stat().st_mode & 0o111
    assert len(only.read_text().splitlines()) <= 15

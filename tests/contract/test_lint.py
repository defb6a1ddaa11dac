"""The tools' opinion of the checkout: ruff, mypy, shellcheck."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def clean(*argv: str) -> None:
    """Run a tool; on failure say the first of what it said."""
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).splitlines()
        pytest.fail("\n".join([" ".join(argv[:4]), *lines[:40]]), pytrace=False)


def shell_scripts() -> list[str]:
    """All files that git knows and that start as a shell script does; templates are scripts only when rendered."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout
    found = []
    for name in filter(None, files.split("\0")):
        path = CHECKOUT / name
        if path.is_file() and path.suffix != ".j2":
            with path.open("rb") as file:
                first = file.readline(80)
            if first.startswith(b"#!") and first.split(b"/")[-1].split()[0] in (b"sh", b"bash"):
                found.append(name)
    return found


def test_ruff_check() -> None:
    clean(sys.executable, "-m", "ruff", "check", "--output-format", "concise", ".")


def test_ruff_format() -> None:
    clean(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_mypy() -> None:
    clean(sys.executable, "-m", "mypy", "--no-error-summary")


def test_shellcheck() -> None:
    scripts = shell_scripts()
    assert "mads/tm/fs_lvm_snap/clone" in scripts
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    clean("shellcheck", *scripts)

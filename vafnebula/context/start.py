"""`init`: a first definition with its scripts, copied into a new directory."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from vafnebula import errors

PACKAGE = Path(__file__).parents[1]
SELF_JOINING = ("htcondor", "slurm", "torque")
_CORE = ("database.py", "errors.py", "keyvalue.py", "process.py")
PROGRAM = (*_CORE, *sorted(f"join/{p.name}" for p in (PACKAGE / "join").glob("*.py")))
"""What guests need of this package: the program `join` of clusters whose workers join by themselves."""

CHECKOUT = Path(__file__).parents[2] / "templates"
INSTALLED = Path(sysconfig.get_path("data")) / "share" / "vafnebula" / "templates"


def kinds() -> list[str]:
    """What a cluster can be started from."""
    return sorted(f.parent.name for f in _templates().glob("*/cluster.yaml"))


def init(kind: str, directory: Path) -> list[Path]:
    """Copy the starter of `kind` into `directory`, which must be absent or empty.  Raises BadArgument."""
    source = _templates() / kind
    empty(directory)
    try:
        shutil.copytree(source, directory, dirs_exist_ok=True)
        if kind in SELF_JOINING:
            shutil.copytree(_templates() / "common", directory / "common")
            for part in PROGRAM:
                target = directory / "common" / "program" / "vafnebula" / part
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PACKAGE / part, target)
    except OSError as e:
        raise errors.BadArgument(what="directory", value=os.fspath(directory), why=str(e.strerror)) from e
    return sorted(p for p in directory.rglob("*") if p.is_file())


def empty(directory: Path) -> None:
    """Make `directory` unless it is there and empty.  Raises BadArgument."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        why = "it is not empty" if any(directory.iterdir()) else ""
    except OSError as e:
        why = str(e.strerror)
    if why:
        raise errors.BadArgument(what="directory", value=os.fspath(directory), why=why)


def _templates() -> Path:
    return CHECKOUT if CHECKOUT.is_dir() else INSTALLED

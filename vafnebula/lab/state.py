"""Where labs live on this machine: one directory per lab, locked for as long as the lab is up.

    $VAFNEBULA_LAB_DIR, or /var/lib/vafnebula-lab
      NAME/lock        flock held by the lab's supervisor and its PID 1: free means the lab is gone
      NAME/lab.json    the Record
      NAME/root        mount point of the lab's own root, empty outside of it
      NAME/guest       scripts that run inside
      NAME/bricks      GlusterFS
      NAME/n1 ...      a node: seed files, disk images, console.log

Disk images are sparse files, so this wants a real disk rather than /run.  The state of a lab that is gone (both its
supervisor and its PID 1 were killed, or the power failed) is swept by whoever looks next.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from vafnebula.lab.errors import LabError, NoLab
from vafnebula.lab.spec import Spec


@dataclass(frozen=True)
class Record:
    """A lab that is up: its description, the supervisor's pid and that of the lab's PID 1 as seen from outside."""

    spec: Spec
    supervisor: int
    init: int


def base() -> Path:
    """The directory of all labs."""
    return Path(os.environ.get("VAFNEBULA_LAB_DIR", "/var/lib/vafnebula-lab"))


def directory(name: str) -> Path:
    return base() / name


def claim(name: str) -> int:
    """Make the directory of a new lab and lock it; the lock's file descriptor is the claim.

    Raises LabError when a lab of that name is up.
    """
    home = directory(name)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = _lock(home)
    if fd is None:
        raise LabError(what=name, why="it is up already", advice=f"use it, or run `vafnebula lab down --name {name}`")
    for left in home.iterdir():
        if left.name != "lock":
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    return fd


def _lock(home: Path) -> int | None:
    """The locked file descriptor of `home`, None when somebody holds it."""
    while True:
        fd = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        try:
            if (home / "lock").stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(fd)  # somebody removed the directory between open and lock


def save(record: Record) -> None:
    """Write the record, so that other processes find the lab."""
    text = json.dumps({"spec": json.loads(record.spec.to_json()), "supervisor": record.supervisor, "init": record.init})
    (directory(record.spec.name) / "lab.json").write_text(text)


def load(name: str) -> Record:
    """The record of a lab that is up.  Raises NoLab."""
    if not is_up(name):
        sweep(name)
        raise NoLab(what=name, why="no lab of this name is up", advice="run `vafnebula lab up` first")
    try:
        values = json.loads((directory(name) / "lab.json").read_text())
    except FileNotFoundError:
        raise NoLab(what=name, why="it is still starting", advice="wait for `vafnebula lab up`") from None
    spec = Spec.from_json(json.dumps(values["spec"]))
    return Record(spec, values["supervisor"], values["init"])


def is_up(name: str) -> bool:
    """Whether somebody holds the lab's lock."""
    lock = directory(name) / "lock"
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def alive(record: Record) -> bool:
    """Whether the lab's PID 1 runs."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{record.init}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def names() -> list[str]:
    """All labs that are up; what is left of others is swept."""
    with contextlib.suppress(FileNotFoundError):
        found = sorted(p.name for p in base().iterdir())
        for name in found:
            if not is_up(name):
                sweep(name)
        return [n for n in found if is_up(n)]
    return []


def sweep(name: str) -> None:
    """Remove the directory of a lab that is not up; nothing happens when it is."""
    home = directory(name)
    if not home.is_dir():
        return
    fd = _lock(home)
    if fd is not None:
        remove(home)
        os.close(fd)


def remove(home: Path) -> None:
    """Remove a lab's directory, and the directory of all labs when it was the last."""
    for _ in range(100):
        shutil.rmtree(home, ignore_errors=True)
        if not home.exists():
            break
        time.sleep(0.02)  # a process that was just killed may still have been writing
    with contextlib.suppress(OSError):  # not empty: other labs are up
        home.parent.rmdir()

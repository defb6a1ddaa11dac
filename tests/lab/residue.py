"""What is left of a lab that should be gone."""

from __future__ import annotations

import os
from pathlib import Path

from vafnebula.lab import Lab, state

Process = tuple[int, str]  # pid and start time: pids, and the numbers of namespaces, are used again


def processes(lab: Lab) -> set[Process]:
    """All that belongs to a lab now: its supervisor, and who is in its namespaces or on the way there."""
    spaces = {os.readlink(f"/proc/{lab.record.init}/ns/{kind}") for kind in ("net", "mnt", "pid")}
    found = {_identity(lab.record.supervisor)}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            own = {os.readlink(path / "ns" / kind) for kind in ("net", "mnt", "pid")}
            if own & spaces:
                found.add(_identity(int(path.name)))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def leftovers(name: str, before: set[Process]) -> list[str]:
    """What is left of the lab `name` that consisted of the processes `before`: those, mounts, interfaces, files."""
    found = []
    for pid, started in before:
        try:
            if _identity(pid) == (pid, started) and not _zombie(pid):
                found.append(f"process {pid}: {Path(f'/proc/{pid}/cmdline').read_bytes()!r}")
        except (FileNotFoundError, ProcessLookupError):
            continue
    home = state.directory(name)
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{home}/" in line]
    found += [f"interface {p.name}" for p in Path("/sys/class/net").iterdir() if p.name.startswith(("tap-n", "lab0"))]
    return [*found, str(home)] if home.exists() else found


def _zombie(pid: int) -> bool:
    """Whether it has ended, and only its parent has not looked yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _identity(pid: int) -> Process:
    return pid, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]

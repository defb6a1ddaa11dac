"""What is left of a lab that should be gone."""

from __future__ import annotations

import os
from pathlib import Path

from vafnebula.lab import Lab, state


def namespaces(lab: Lab) -> set[str]:
    """The lab's namespaces as the kernel names them: `net:[4026531840]`."""
    own = Path(f"/proc/{lab.record.init}/ns")
    return {os.readlink(own / kind) for kind in ("net", "mnt", "pid", "uts", "ipc")}


def leftovers(name: str, spaces: set[str]) -> list[str]:
    """What is left of the lab `name` that had the namespaces `spaces`: processes, mounts, taps, files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for kind in ("net", "mnt", "pid"):
            try:
                if os.readlink(process / "ns" / kind) in spaces:
                    found.append(f"process {process.name} in the lab's {kind} namespace")
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
    home = state.directory(name)
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{home}/" in line]
    found += [f"interface {p.name}" for p in Path("/sys/class/net").iterdir() if p.name.startswith(("tap-n", "lab0"))]
    return [*found, str(home)] if home.exists() else found

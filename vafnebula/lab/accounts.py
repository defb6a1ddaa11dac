"""The lab's users: the host's system accounts plus OpenNebula's oneadmin, uid and gid 9869."""

from __future__ import annotations

from pathlib import Path

from vafnebula.lab.spec import GID, UID

USER = "oneadmin"
HOME = "/var/lib/one"


def passwd() -> str:
    """/etc/passwd."""
    return _with(Path("/etc/passwd"), f"{USER}:x:{UID}:{GID}:OpenNebula:{HOME}:/bin/bash")


def group(*extra: str) -> str:
    """/etc/group, with oneadmin as a member of the groups `extra` (on a node: disk)."""
    lines = _with(Path("/etc/group"), f"{USER}:x:{GID}:").splitlines()
    return "".join(f"{_joined(line) if line.split(':')[0] in extra else line}\n" for line in lines)


def _joined(line: str) -> str:
    """A line of /etc/group with oneadmin as one more member."""
    return f"{line}{'' if line.endswith(':') else ','}{USER}"


def shadow() -> str:
    """/etc/shadow: nobody has a password, but nobody is locked out either (sudo and sshd look)."""
    return "".join(f"{name}:*:19000:0:99999:7:::\n" for name in ("root", USER, "sshd", "nobody"))


def _with(path: Path, entry: str) -> str:
    """The host's account file with `entry` in place of any that has its name or number."""
    name, _, number = entry.split(":")[:3]
    others = [line for line in path.read_text().splitlines() if line.split(":")[0] != name]
    kept = [line for line in others if line.count(":") >= 3 and line.split(":")[2] != number]
    return "\n".join([*kept, entry]) + "\n"

"""The front-end's side of a lab: the directories that OpenNebula's packages make, and oneadmin's home.

Written from outside: what lies below /proc/PID/root of the lab's PID 1 is the lab's own root.
"""

from __future__ import annotations

import os
from pathlib import Path

from vafnebula.lab import accounts, identity
from vafnebula.lab.spec import GID, UID, Spec

REMOTES = "var/lib/one/remotes"
DIRECTORIES = (
    "var/lib/one",
    "var/lib/one/.one",
    "var/lib/one/datastores",
    *(f"{REMOTES}/{name}" for name in ("", "tm", "datastore", "im", "vmm", "vnm", "hooks", "etc")),
    "run/one",
    "run/one/ssh-socks",
    "run/lock/one",
    "var/log/one",
)
ONE_AUTH = "oneadmin:opennebula\n"


def outside(init: int, path: str | Path) -> Path:
    """Where a path of the front-end is seen from outside the lab.

    Do not use it for paths that may hold absolute symbolic links: those would be followed on the host.
    """
    return Path(f"/proc/{init}/root") / str(path).lstrip("/")


def make(init: int, spec: Spec, keys: identity.Keys) -> None:
    """Make all of it."""
    for name in DIRECTORIES:
        path = outside(init, name)
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, UID, GID)
    outside(init, "run/one/ssh-socks").chmod(0o700)
    home = outside(init, accounts.HOME)
    (home / ".one").chmod(0o700)
    (home / ".one/one_auth").write_text(ONE_AUTH)
    (home / ".one/one_auth").chmod(0o600)
    identity.install(home / ".ssh", keys, spec, shared=True)
    for sds in [*spec.sds, *spec.images]:
        (home / f"datastores/{sds}").mkdir()
    for path in (home / ".one", home / ".ssh", home / "datastores"):
        for owned in (path, *path.iterdir()):
            os.chown(owned, UID, GID)

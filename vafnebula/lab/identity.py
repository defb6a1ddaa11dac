"""The one ssh identity of a lab: oneadmin's key, which is the same everywhere as OpenNebula's guide has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vafnebula import process
from vafnebula.lab.spec import FRONTEND, Spec

CONFIG = """\
Host *
    BatchMode yes
    ConnectTimeout 5
    ServerAliveInterval 3
    ServerAliveCountMax 3
    GSSAPIAuthentication no
    LogLevel ERROR
"""
# what OpenNebula's wrapper in /usr/lib/one/sh/override does for the daemon's ssh
SHARED = """\
    ControlMaster auto
    ControlPath /run/one/ssh-socks/ctl-%C.sock
    ControlPersist 600
"""


@dataclass(frozen=True)
class Keys:
    """Texts of key files: oneadmin's pair and the nodes' common host key."""

    private: str
    public: str
    host_private: str
    host_public: str


def make(scratch: Path) -> Keys:
    """New keys; `scratch` is a directory for ssh-keygen to write to."""
    texts = []
    for name, comment in (("id", f"oneadmin@{FRONTEND}"), ("host", "node")):
        file = scratch / name
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)], timeout=30)
        for path in (file, file.with_suffix(".pub")):
            texts.append(path.read_text())
            path.unlink()
    return Keys(*texts)


def install(ssh: Path, keys: Keys, spec: Spec, *, shared: bool = False) -> None:
    """Write the directory `ssh` (.ssh); with `shared`, connections to a node are shared."""
    ssh.mkdir(mode=0o700)
    known = "".join(f"{n},{spec.address(n)} {keys.host_public}" for n in spec.node_names)
    files = {
        "id_ed25519": keys.private,
        "id_ed25519.pub": keys.public,
        "authorized_keys": keys.public,
        "known_hosts": known,
        "config": CONFIG + (SHARED if shared else ""),
    }
    for name, text in files.items():
        (ssh / name).write_text(text)
        (ssh / name).chmod(0o600)

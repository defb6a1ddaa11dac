"""ask: a worker's side, one attempt.  Run again until it succeeds, and after every boot: it changes nothing then.

The head is the VM of role `head` in this service that published its host key; or the one that VAF_HEAD and
VAF_HEAD_KEY name.  A head with another host key is never spoken to.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vafnebula import errors, process
from vafnebula.join import onegate
from vafnebula.join.keys import USER
from vafnebula.join.onegate import Gate, Unanswered
from vafnebula.join.vms import Vm, well_formed

IMAGE_KEY = "/etc/vafnebula/join_key"
"""Level 1: a key that the site put into its image, and that the head's authorized_keys restricts."""

_FILE = re.compile(r"file ([a-z0-9._-]{1,40}) ([A-Za-z0-9+/]*={0,2})")
_HEAD = re.compile(r"[0-9A-Za-z.:-]{1,100}")


class NotYet(errors.HostError):
    """Try again."""

    sentence = "{why}; trying again is all there is to do"


@dataclass(frozen=True)
class Head:
    """Where to ask, and its host key."""

    address: str
    key: str


def ask(environment: Mapping[str, str], state: Path, gate: Path, slots: int, memory: int) -> str:
    """Join; the name that this worker has now.  What the head gave is in `state`/joined.

    Raises NotYet, Unanswered, or CommandFailed with the head's refusal.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    asked = None if not gate.exists() else onegate.load(str(gate))
    key = Path(IMAGE_KEY)
    if not key.exists():
        key = own_key(state)
        if asked is None:
            raise Unanswered(what="OneGate", why=f"{gate} is missing, and {IMAGE_KEY} too")
        asked.publish({"VAF_PUBKEY": well_formed(Path(f"{key}.pub").read_text(encoding="ascii"))})
    head = find(environment, asked)
    done = process.run([*_ssh(state, key, head), f"join slots={slots} memory={memory} id={number(state)}"], timeout=60)
    return keep(done.out.decode("ascii", "replace"), state, head)


def own_key(state: Path) -> Path:
    """The key that this VM made for itself; the private half never leaves it."""
    key = state / "key"
    if not (key.exists() and Path(f"{key}.pub").exists()):
        key.unlink(missing_ok=True)
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "worker", "-f", str(key)], timeout=30)
    return key


def number(state: Path) -> str:
    """This VM's own number, made once."""
    file = state / "id"
    if not file.exists():
        new = state / "id.new"
        new.write_text(secrets.token_hex(16), encoding="ascii")
        new.replace(file)
    return file.read_text(encoding="ascii").strip()


def find(environment: Mapping[str, str], gate: Gate | None) -> Head:
    """The head of this worker's cluster.  Raises NotYet when it has not come up, Unanswered."""
    address, key = environment.get("VAF_HEAD", ""), well_formed(environment.get("VAF_HEAD_KEY", ""))
    if not (address and key):
        if gate is None:
            raise Unanswered(what="the context", why="VAF_HEAD and VAF_HEAD_KEY are not set, and there is no OneGate")
        address, key = _published(gate.vms())
    if not _HEAD.fullmatch(address):
        raise errors.BadArgument(what="address of the head", value=address, why="it is none")
    return Head(address, key)


def _published(vms: list[Vm]) -> tuple[str, str]:
    heads = [vm for vm in vms if vm.role == "head" and vm.running and vm.host_key and vm.address in vm.addresses]
    if len(heads) != 1:
        raise NotYet(why=f"{len(heads)} heads have published their host key")
    return heads[0].address, heads[0].host_key


def _ssh(state: Path, key: Path, head: Head) -> list[str]:
    known = state / "known_hosts"
    known.write_text(f"{head.address} {head.key}\n", encoding="ascii")
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlgorithms": "ssh-ed25519",
        "KexAlgorithms": "curve25519-sha256,curve25519-sha256@libssh.org",  # the default takes twice as long
        "IdentitiesOnly": "yes",
        "ServerAliveInterval": "10",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known),
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-T", *words, "-i", str(key), "-l", USER, "--", head.address]


def keep(reply: str, state: Path, head: Head) -> str:
    """Put the head's answer into `state`/joined, complete or not at all; the name in it."""
    first, *rest = reply.splitlines() or [""]
    word, _, name = first.partition(" ")
    files = [_FILE.fullmatch(line) for line in rest]
    if word != "name" or not re.fullmatch(r"[a-z][a-z0-9-]{1,100}", name) or not all(files):
        raise NotYet(why="the head's answer is not one")
    new = state / "joined.new"
    new.mkdir(mode=0o700, exist_ok=True)
    for old in new.iterdir():
        old.unlink()
    contents = {f[1]: base64.b64decode(f[2]) for f in files if f}
    for file, data in {"name": name.encode(), "head": head.address.encode(), **contents}.items():
        (new / file).touch(0o600)
        (new / file).write_bytes(data)
    old_home = state / "joined"
    if old_home.exists():  # a rename cannot replace a directory that is not empty
        for old in old_home.iterdir():
            old.unlink()
    os.replace(new, old_home)  # noqa: PTH105
    return name

"""What OpenNebula knows about the VMs of a cluster, whichever way it was asked."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from vafnebula.join.request import Refused

KEY = re.compile(r"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}")
"""The only kind of key that workers and heads make: its base64 has no padding, which OneGate would garble."""

ACTIVE, RUNNING = "3", "3"


@dataclass(frozen=True)
class Vm:
    """A VM: its addresses, and what it published: the public key it joins with, or, on a head, its host key.

    `key` is '' unless it is well-formed; `vcpu` is 0 when OpenNebula does not tell.
    """

    id: int
    role: str
    running: bool
    addresses: tuple[str, ...] = ()
    key: str = ""
    host_key: str = ""
    address: str = ""
    vcpu: int = 0

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)


def fingerprint(key: str) -> str:
    """SHA256:..., as ssh-keygen prints it; '' for no key."""
    if not key:
        return ""
    digest = hashlib.sha256(base64.b64decode(key.split(" ")[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def well_formed(text: object) -> str:
    """`text` if it is a public key, else ''."""
    words = " ".join(str(text or "").split()[:2])
    return words if KEY.fullmatch(words) else ""


def the_one(vms: Iterable[Vm], role: str, address: str) -> Vm:
    """The one running VM of `role` that has `address`.  Raises Refused when there is none, or more than one."""
    found = [vm for vm in vms if vm.running and vm.role == role and address in vm.addresses]
    if not found:
        raise Refused(f"no running {role} of this cluster has the address {address}")
    if len(found) > 1:
        raise Refused(f"{len(found)} VMs have the address {address}")
    return found[0]

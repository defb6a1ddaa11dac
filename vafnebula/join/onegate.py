"""OneGate: OpenNebula's window for VMs.  A VM sees its own service, and publishes words about itself.

Protocol: src/onegate/onegate-server.rb; headers X-ONEGATE-TOKEN and X-ONEGATE-VMID.  Its parser of updates is fragile
(`=`, brackets and backslashes are rewritten), so only quoted words without them are published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vafnebula import errors
from vafnebula.join.vms import ACTIVE, RUNNING, Vm, well_formed

TIMEOUT = 10.0
LIMIT = 8 * 1024 * 1024
_SAFE = re.compile(r"[A-Za-z0-9+/ .:_-]{1,200}")


class Unanswered(errors.SiteError):
    """OneGate, or OpenNebula's API, gave no usable answer."""

    sentence = "{what} gives no usable answer: {why}; check it, its address and this VM's token"


@dataclass(frozen=True)
class Gate:
    """OneGate as VM `vm` sees it."""

    endpoint: str
    vm: int
    token: str

    def vms(self) -> list[Vm]:
        """The VMs of this VM's service.  Raises Unanswered."""
        service = self._json("/service?extended=true").get("SERVICE", {})
        found = []
        for role in _list(service.get("roles")):
            for node in _list(role.get("nodes")):
                vm = (node.get("vm_info") or {}).get("VM", {})
                if "TEMPLATE" not in vm:  # releases that do not know `extended`
                    vm = self._json(f"/vms/{int(node['deploy_id'])}").get("VM", {})
                found.append(_vm(vm, str(role.get("name", ""))))
        return found

    def publish(self, words: Mapping[str, str]) -> None:
        """Set attributes of this VM.  Raises Unanswered."""
        for value in words.values():
            if not _SAFE.fullmatch(value):
                raise errors.BadArgument(what="value", value=value, why="OneGate would garble it")
        self._ask("PUT", "/vm", "\n".join(f'{name}="{value}"' for name, value in words.items()))

    def _json(self, path: str) -> dict[str, Any]:
        said = self._ask("GET", path)
        try:
            answer = json.loads(said)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Unanswered(what="OneGate", why="the answer is not JSON")
        return answer

    def _ask(self, verb: str, path: str, body: str | None = None) -> bytes:
        place = urlsplit(self.endpoint)
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        headers = {"X-ONEGATE-TOKEN": self.token, "X-ONEGATE-VMID": str(self.vm), "Content-Type": "text/plain"}
        try:
            connection = kind(place.hostname or "", place.port, timeout=TIMEOUT)
            try:
                connection.request(verb, place.path.rstrip("/") + path, body, headers)
                with connection.getresponse() as answer:
                    said = answer.read(LIMIT)
            finally:
                connection.close()
        except (OSError, HTTPException, ValueError) as e:
            raise Unanswered(what="OneGate", why=errors.one_line(str(e) or type(e).__name__, 120)) from e
        if answer.status >= 300:
            raise Unanswered(what="OneGate", why=errors.one_line(f"{answer.status} {said.decode('latin-1')}", 120))
        return said


def load(path: str) -> Gate:
    """The gate that file `path` names: endpoint, VM id and token, in one line.  Raises Unanswered."""
    try:
        endpoint, vm, token = Path(path).read_text(encoding="ascii").split()
        return Gate(endpoint, int(vm), token)
    except (OSError, ValueError) as e:
        why = f"{path} does not hold endpoint, VM id and token; the template needs `token: true`"
        raise Unanswered(what="OneGate", why=why) from e


def _vm(raw: Mapping[str, Any], role: str) -> Vm:
    user, template = raw.get("USER_TEMPLATE") or {}, raw.get("TEMPLATE") or {}
    nics = _list(template.get("NIC")) + _list(template.get("NIC_ALIAS"))
    return Vm(
        id=int(raw["ID"]),
        role=role,
        running=(str(raw.get("STATE")), str(raw.get("LCM_STATE"))) == (ACTIVE, RUNNING),
        addresses=tuple(str(nic["IP"]) for nic in nics if nic.get("IP")),
        key=well_formed(user.get("VAF_PUBKEY")),
        host_key=well_formed(user.get("VAF_HOST_KEY")),
        address=str(user.get("VAF_ADDRESS", "")),
        vcpu=int(template.get("VCPU") or 0),
    )


def _list(value: Any) -> list[Any]:
    """OpenNebula's JSON has an object where there is one of something, and nothing where there is none."""
    return value if isinstance(value, list) else [value] if value else []

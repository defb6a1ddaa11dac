"""OneGate for VMs of one service: a real HTTP server that answers as src/onegate/onegate-server.rb does.

A VM is known by its id and token; it reads its service, and writes its own user template, whose text goes through
the same fragile rewriting of `=` that OneGate does, as far as quoted values are concerned.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.served import Served


@dataclass
class FakeVm:
    """A VM of the service; state and lcm_state 3 mean ACTIVE and RUNNING."""

    id: int
    role: str
    address: str
    token: str
    state: str = "3"
    lcm_state: str = "3"
    user: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        nic = {"NIC_ID": "0", "IP": self.address, "NETWORK": "private"}
        return {
            "VM": {
                "ID": str(self.id),
                "NAME": f"{self.role}_{self.id}",
                "STATE": self.state,
                "LCM_STATE": self.lcm_state,
                "USER_TEMPLATE": {"SERVICE_ID": "7", "ROLE_NAME": self.role, **self.user},
                "TEMPLATE": {"NIC": nic, "VCPU": "2"},
            }
        }


class OneGate(Served[ThreadingHTTPServer]):
    """Serves `vms` on `address`; `extended` is False for a release that lists ids only."""

    def __init__(self, vms: list[FakeVm], address: str = "127.0.0.1", extended: bool = True) -> None:
        self.vms = {vm.id: vm for vm in vms}
        self.extended = extended
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                vm = self._source()
                if vm is None:
                    return
                path = self.path.partition("?")[0]
                if path == "/service":
                    self._answer(200, gate.service())
                elif path.startswith("/vms/"):
                    self._answer(200, gate.vms[int(path.split("/")[2])].document())
                else:
                    self._answer(200, vm.document())

            def do_PUT(self) -> None:
                vm = self._source()
                if vm is None:
                    return
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                vm.user.update(re.findall(r'^([A-Z_]+)="([^"=\[\],\\]*)"$', body, re.MULTILINE))
                self._answer(200, "")

            def _source(self) -> FakeVm | None:
                vm = gate.vms.get(int(self.headers.get("X-ONEGATE-VMID", "-1")))
                if vm is None or self.headers.get("X-ONEGATE-TOKEN") != vm.token:
                    self._answer(401, "Not authorized")
                    return None
                return vm

            def _answer(self, status: int, body: object) -> None:
                data = json.dumps(body).encode() if not isinstance(body, str) else body.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        super().__init__(ThreadingHTTPServer((address, 0), Handler))
        self._server.daemon_threads = False  # closing waits for its connections: none is left to the collector

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def service(self) -> dict[str, Any]:
        roles: dict[str, list[dict[str, Any]]] = {}
        for vm in self.vms.values():
            whole = vm.document()
            info = whole if self.extended else {"VM": {"ID": str(vm.id), "NAME": whole["VM"]["NAME"]}}
            roles.setdefault(vm.role, []).append({"deploy_id": vm.id, "running": True, "vm_info": info})
        listed = [{"name": name, "cardinality": len(nodes), "nodes": nodes} for name, nodes in roles.items()]
        return {"SERVICE": {"name": "c", "id": "7", "roles": listed}}

"""OpenNebula's API as far as the scaler needs it: a real XML-RPC server over a small world of VMs.

    with OpenNebula({5: Kind("worker", vcpu=2, memory=2048)}) as one:
        ... one.url, one.vms, one.calls ...

The documents have the elements of tests/data/vm, which oned 7.4 sent.  States move only when a test says so, or when
`started` and `ended` are given: they are called, with the VM, when it was made and when it was told to end.
Faults: `lost` answers (acted, then the connection closes), `refused` calls, `slow` seconds, `down`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from xml.sax.saxutils import escape
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from tests.fakes.oned import SESSION
from tests.fakes.served import Served
from vafnebula.one import rpc, template

ACTIVE, DONE = 3, 6
RUNNING, BOOT, SHUTDOWN = 3, 2, 12


@dataclass
class Kind:
    """A VM template: what its VMs have.  `memory` in MB, as OpenNebula counts."""

    name: str
    vcpu: int = 1
    memory: int = 512
    cpu: float = 1.0


@dataclass
class Machine:
    """A VM of this world."""

    id: int
    name: str
    kind: Kind
    template: int
    labels: dict[str, str]
    owner: str = SESSION.partition(":")[0]
    group: str = "oneadmin"
    state: int = ACTIVE
    lcm: int = RUNNING
    host: str = "node1"
    stime: int = 0
    monitoring: dict[str, str] = field(default_factory=dict)

    def xml(self) -> str:
        inner = {
            "ID": self.id,
            "UID": 0,
            "GID": 0,
            "UNAME": self.owner,
            "GNAME": self.group,
            "NAME": self.name,
            "STATE": self.state,
            "LCM_STATE": self.lcm,
            "STIME": self.stime,
            "DEPLOY_ID": f"one-{self.id}" if self.host else "",
        }
        wanted = {
            "CPU": self.kind.cpu,
            "VCPU": self.kind.vcpu,
            "MEMORY": self.kind.memory,
            "TEMPLATE_ID": self.template,
        }
        history = f"<HISTORY><HOSTNAME>{escape(self.host)}</HOSTNAME></HISTORY>" if self.host else ""
        return (
            f"<VM>{_tags(inner)}<MONITORING>{_tags(self.monitoring)}</MONITORING><TEMPLATE>{_tags(wanted)}</TEMPLATE>"
            f"<USER_TEMPLATE>{_tags(self.labels)}</USER_TEMPLATE>"
            f"<HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>"
        )


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)
    server: _Server  # type: ignore[assignment]

    def do_POST(self) -> None:  # noqa: N802
        world = self.server.world
        if world.down:
            self.close_connection = True
            return
        time.sleep(world.slow)
        super().do_POST()

    def send_response(self, code: int, message: str | None = None) -> None:
        world = self.server.world
        if world.lose.acquire(blocking=False):
            world.losses += 1
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        super().send_response(code, message)


class _Server(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True
    allow_reuse_address = True
    world: OpenNebula

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, or an answer that was to be lost."""


class OpenNebula(Served[_Server]):
    """The world.  Thread-safe for its clients; a test may change `vms` while nobody asks, or under `lock`."""

    def __init__(
        self,
        kinds: dict[int, Kind],
        started: Callable[[Machine], None] = lambda vm: None,
        ended: Callable[[Machine], None] = lambda vm: None,
        listener: socket.socket | None = None,
    ) -> None:
        self.kinds, self.started, self.ended = kinds, started, ended
        self.vms: dict[int, Machine] = {}
        self.calls: Counter[str] = Counter()
        self.hosts: dict[str, int] = {"node1": 1}
        self.raft = 0
        self.down = False
        self.slow = 0.0
        self.lose = threading.Semaphore(0)
        self.losses = 0
        self.refused: dict[str, str] = {}
        self.lock = threading.RLock()
        self.next = 1
        listener = listener or socket.create_server(("127.0.0.1", 0))
        super().__init__(_Server(listener.getsockname(), _Handler, logRequests=False, bind_and_activate=False))
        self._server.socket.close()
        self._server.socket = listener
        self._server.world = self
        for name in (
            "vmpool.infoextended",
            "vm.info",
            "vm.action",
            "vm.recover",
            "template.instantiate",
            "templatepool.info",
            "hostpool.info",
            "zone.raftstatus",
        ):
            self._server.register_function(self._serve(name), f"one.{name}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/RPC2"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def endpoint(self) -> rpc.Endpoint:
        return rpc.Endpoint("http", "127.0.0.1", self.port, "/RPC2")

    def alive(self) -> list[Machine]:
        with self.lock:
            return [vm for vm in self.vms.values() if vm.state != DONE]

    def add(self, kind: int, name: str = "other", **facts: object) -> Machine:
        """A VM that nobody asked for through the API."""
        with self.lock:
            vm = Machine(self.next, name, self.kinds[kind], kind, {}, stime=int(time.time()))
            for key, value in facts.items():
                setattr(vm, key, value)
            self.vms[vm.id] = vm
            self.next += 1
            return vm

    def _serve(self, name: str) -> Callable[..., list[object]]:
        act = getattr(self, "_" + name.replace(".", "_"))

        def answer(session: str, *arguments: object) -> list[object]:
            with self.lock:
                self.calls[name] += 1
                if session != SESSION:
                    return [False, f"[one.{name}] User couldn't be authenticated, aborting.", 0x0100, -1]
                if name in self.refused:
                    return [False, f"[one.{name}] {self.refused[name]}", 0x0800, -1]
                try:
                    return [True, act(*arguments), 0, -1]
                except KeyError as e:
                    return [False, f"[one.{name}] Error getting virtual machine [{e.args[0]}].", 0x0400, -1]
                except ValueError as e:
                    return [False, f"[one.{name}] {e}", 0x0800, -1]

        return answer

    def _vmpool_infoextended(self, who: int, start: int, end: int, state: int, query: str) -> str:
        user = SESSION.partition(":")[0]
        listed = [vm for vm in self.vms.values() if vm.state != DONE and (who == -2 or vm.owner == user)]
        return f"<VM_POOL>{''.join(vm.xml() for vm in listed)}</VM_POOL>"

    def _vm_info(self, number: int, decrypt: bool) -> str:
        return self.vms[number].xml()

    def _template_instantiate(self, number: int, name: str, hold: bool, extra: str, persistent: bool) -> int:
        if number not in self.kinds:
            raise ValueError(f"Error getting virtual machine template [{number}].")
        tree = template.parse(extra)
        labels = {a.name: a.value for a in tree.attributes if isinstance(a, template.Single)}
        vm = Machine(self.next, name, self.kinds[number], number, labels, stime=int(time.time()))
        self.vms[vm.id] = vm
        self.next += 1
        self.started(vm)
        return vm.id

    def _vm_action(self, action: str, number: int) -> int:
        vm = self.vms[number]
        if action not in ("terminate", "terminate-hard"):
            raise ValueError(f"Wrong action {action}")
        if vm.state == ACTIVE and vm.lcm in (0, 1, BOOT, 11):
            raise ValueError(f"Could not terminate VM {number}, wrong state")
        return self._end(vm)

    def _vm_recover(self, number: int, operation: int) -> int:
        if operation != 3:
            raise ValueError("Wrong recovery operation code")
        return self._end(self.vms[number])

    def _end(self, vm: Machine) -> int:
        if vm.state != DONE:
            vm.state, vm.lcm = DONE, 0
            self.ended(vm)
        return vm.id

    def _templatepool_info(self, who: int, start: int, end: int) -> str:
        inner = "".join(f"<VMTEMPLATE>{_tags({'ID': n, 'NAME': k.name})}</VMTEMPLATE>" for n, k in self.kinds.items())
        return f"<VMTEMPLATE_POOL>{inner}</VMTEMPLATE_POOL>"

    def _hostpool_info(self) -> str:
        inner = "".join(
            f"<HOST><NAME>{name}</NAME><TEMPLATE>{_tags({'CGROUPS_VERSION': version})}</TEMPLATE></HOST>"
            for name, version in self.hosts.items()
        )
        return f"<HOST_POOL>{inner}</HOST_POOL>"

    def _zone_raftstatus(self) -> str:
        return f"<RAFT><SERVER_ID>0</SERVER_ID><STATE>{self.raft}</STATE><TERM>1</TERM></RAFT>"


def _tags(values: object) -> str:
    assert isinstance(values, dict)
    return "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in values.items())

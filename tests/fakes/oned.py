"""OpenNebula's API, as far as transfer actions and an admin's commands need it: a real XML-RPC server.

It answers from recorded data:

    with Oned([Path("tests/data/vm/vm-running.xml")]) as oned:
        ... oned.url, oned.calls ...

`Raw` is the other kind of server: it says given bytes, at a given pace, and nothing else.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from xml.etree import ElementTree as ET
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from tests.fakes.served import Served

SESSION = "oneadmin:opennebula"


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)


class Oned(Served[SimpleXMLRPCServer]):
    """Serves the VMs in `files` (later ones replace earlier ones of the same id).  `calls` lists what was asked."""

    def __init__(self, files: Iterable[Path] = (), session: str = SESSION) -> None:
        self.session = session
        self.vms: dict[int, str] = {}
        self.calls: list[tuple[object, ...]] = []
        self._scheme = "http"
        for file in files:
            self.add(file.read_text(encoding="utf-8"))
        super().__init__(SimpleXMLRPCServer(("127.0.0.1", 0), _Handler, logRequests=False))
        self.others: dict[tuple[str, int], str] = {}  # documents by method and number
        self._server.register_function(self._info, "one.vm.info")
        for method in ("one.image.info", "one.datastore.info"):
            self._server.register_function(partial(self._other, method), method)
        self._server.register_function(self._live, "one.vmpool.infoextended")
        self.pools: dict[str, str] = {}
        for method in ("one.hostpool.info", "one.datastorepool.info", "one.imagepool.info"):
            self._server.register_function(partial(self._pool, method), method)

    def add(self, document: str) -> None:
        self.vms[int(ET.fromstring(document).findtext("ID", ""))] = document

    def change(self, vm: int, disk: int, values: Mapping[str, str]) -> None:
        """Set attributes of a disk, as a template author would have."""
        root = ET.fromstring(self.vms[vm])
        found = next(d for d in root.iterfind("TEMPLATE/DISK") if d.findtext("DISK_ID") == str(disk))
        for name, value in values.items():
            for old in found.findall(name):
                found.remove(old)
            ET.SubElement(found, name).text = value
        self.vms[vm] = ET.tostring(root, encoding="unicode")

    def encrypt(self, certificate: Path, key: Path) -> None:
        """Speak TLS from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https"

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/RPC2"

    def _info(self, session: str, vm: int, decrypt: bool = False) -> list[object]:
        self.calls.append(("one.vm.info", session, vm, decrypt))
        if session != self.session:
            return [False, "[one.vm.info] User couldn't be authenticated, aborting.", 0x0100, -1]
        if vm not in self.vms:
            return [False, f"[one.vm.info] Error getting virtual machine [{vm}].", 0x0400, vm]
        return [True, self.vms[vm], 0, -1]

    def _other(self, method: str, session: str, number: int, decrypt: bool = False) -> list[object]:
        self.calls.append((method, session, number, decrypt))
        found = self.others.get((method, number))
        return [True, found, 0, -1] if found else [False, f"[{method}] Error getting {number}.", 0x0400, number]

    def _live(self, session: str, *_: int) -> list[object]:
        if session != self.session:
            return [False, "[one.vmpool.infoextended] User couldn't be authenticated, aborting.", 0x0100, -1]
        live = [d for d in self.vms.values() if ET.fromstring(d).findtext("STATE") != "6"]
        return [True, f"<VM_POOL>{''.join(d[d.index('<VM>') :] for d in live)}</VM_POOL>", 0, -1]

    def _pool(self, method: str, session: str, *_: int) -> list[object]:
        self.calls.append((method,))
        if session != self.session:
            return [False, f"[{method}] User couldn't be authenticated, aborting.", 0x0100, -1]
        return [True, self.pools[method], 0, -1]


class Raw:
    """Says `answer` to the first connection, `pause` seconds between two bytes (0: all at once), then closes it."""

    def __init__(self, answer: bytes, pause: float = 0) -> None:
        self.answer = answer
        self.pause = pause
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/RPC2"

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            try:
                connection.recv(65536)
                if not self.pause:
                    connection.sendall(self.answer)
                for i in range(len(self.answer) if self.pause else 0):
                    if self._over.wait(self.pause):
                        return
                    connection.sendall(self.answer[i : i + 1])
            except OSError:
                return

    def __enter__(self) -> Raw:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def main() -> None:
    """Serve all recorded VMs until interrupted, for a try by hand; prints what ONE_XMLRPC must be."""
    with Oned(sorted((Path(__file__).parents[1] / "data/vm").glob("*.xml"))) as oned:
        print(oned.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()

"""OpenNebula's side of `vafnebula context apply`: templates over XML-RPC and service templates over REST, in memory.

An ordinary server that does what the documentation says: it stores what it is given (sorted by name,
as oned does), and it can be told to fail at a call.
"""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from xml.etree import ElementTree as ET
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer


class _Paths(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)


class Site:
    """`templates`: id -> (name, owner, TEMPLATE element); `services`: id -> body; `calls`: writing calls, in order."""

    def __init__(self, session: str = "vaf:secret") -> None:
        self.session = session
        self.templates: dict[int, tuple[str, str, ET.Element]] = {}
        self.services: dict[int, dict[str, Any]] = {}
        self.vms: list[str] = []
        self.images: list[tuple[str, str, int, int]] = []
        self.networks: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.fail_at = ""
        self._next = 100
        self._rpc = SimpleXMLRPCServer(("127.0.0.1", 0), _Paths, logRequests=False)
        for name in ("templatepool.info", "template.info", "template.allocate", "template.update", "template.delete"):
            self._rpc.register_function(getattr(self, name.replace(".", "_")), f"one.{name}")
        self._rpc.register_function(self.vmpool_infoextended, "one.vmpool.infoextended")
        self._rpc.register_function(self.imagepool_info, "one.imagepool.info")
        self._rpc.register_function(self.vnpool_info, "one.vnpool.info")
        self._flow = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._flow.daemon_threads = False  # closing waits for its connections: none is left to the collector
        self._threads = [threading.Thread(target=s.serve_forever, args=(0.01,)) for s in (self._rpc, self._flow)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._rpc.server_address[1]}/RPC2"

    @property
    def flow(self) -> str:
        return f"http://127.0.0.1:{self._flow.server_address[1]}"

    def _id(self) -> int:
        self._next += 1
        return self._next

    def _write(self, call: str) -> str:
        """Why this writing call fails, or ''."""
        if self.fail_at and self.fail_at in call:
            return f"[{call}] it was told to fail"
        self.calls.append(call)
        return ""

    def templatepool_info(self, session: str, *_: int) -> list[Any]:
        if session != self.session:
            return [False, "[one.templatepool.info] User couldn't be authenticated, aborting.", 256, -1, 0]
        return [True, f"<VMTEMPLATE_POOL>{''.join(map(self._document, self.templates))}</VMTEMPLATE_POOL>", 0, -1, 0]

    def template_info(self, session: str, number: int, *_: bool) -> list[Any]:
        if number not in self.templates:
            return [False, f"[one.template.info] Error getting virtual machine template [{number}].", 1024, number, 0]
        return [True, self._document(number), 0, -1, 0]

    def _document(self, number: int) -> str:
        name, owner, tree = self.templates[number]
        inner = ET.tostring(tree, encoding="unicode")
        return f"<VMTEMPLATE><ID>{number}</ID><UNAME>{owner}</UNAME><NAME>{name}</NAME>{inner}</VMTEMPLATE>"

    def template_allocate(self, session: str, text: str) -> list[Any]:
        tree = ET.fromstring(text)
        name = tree.findtext("NAME", "")
        why = self._write(f"template.allocate {name}")
        if why:
            return [False, why, 8192, -1, 0]
        tree.remove(next(e for e in tree if e.tag == "NAME"))
        number = self._id()
        self.templates[number] = (name, session.partition(":")[0], _sorted(tree))
        return [True, number, 0, -1, 0]

    def template_update(self, session: str, number: int, text: str, append: int) -> list[Any]:
        why = self._write(f"template.update {number}")
        if why:
            return [False, why, 8192, -1, 0]
        name, owner, _ = self.templates[number]
        self.templates[number] = (name, owner, _sorted(ET.fromstring(text)))
        return [True, number, 0, -1, 0]

    def template_delete(self, session: str, number: int, recursive: bool) -> list[Any]:
        why = self._write(f"template.delete {number}")
        if why:
            return [False, why, 8192, -1, 0]
        del self.templates[number]
        return [True, number, 0, -1, 0]

    def vmpool_infoextended(self, session: str, *_: object) -> list[Any]:
        return [True, f"<VM_POOL>{''.join(self.vms)}</VM_POOL>", 0, -1, 0]

    def imagepool_info(self, session: str, *_: int) -> list[Any]:
        """Images are (name, owner, TYPE, STATE)."""
        text = "".join(
            f"<IMAGE><NAME>{n}</NAME><UNAME>{u}</UNAME><TYPE>{t}</TYPE><STATE>{s}</STATE></IMAGE>"
            for n, u, t, s in self.images
        )
        return [True, f"<IMAGE_POOL>{text}</IMAGE_POOL>", 0, -1, 0]

    def vnpool_info(self, session: str, *_: int) -> list[Any]:
        text = "".join(f"<VNET><NAME>{n}</NAME><UNAME>{u}</UNAME></VNET>" for n, u in self.networks)
        return [True, f"<VNET_POOL>{text}</VNET_POOL>", 0, -1, 0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(lambda _: {"DOCUMENT_POOL": {"DOCUMENT": [site._shown(n) for n in site.services]}})

            def do_POST(self) -> None:
                self._answer(site._create)

            def do_PUT(self) -> None:
                self._answer(lambda body: site._replace(int(self.path.rsplit("/", 1)[1]), body))

            def _answer(self, act: Any) -> None:
                token = base64.b64encode(site.session.encode()).decode()
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers["Authorization"] != f"Basic {token}":
                    return self._say(401, "The username or password is not correct")
                try:
                    return self._say(200, json.dumps(act(json.loads(body or b"{}"))))
                except ValueError as e:
                    return self._say(400, str(e))

            def _say(self, status: int, text: str) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _shown(self, number: int) -> dict[str, Any]:
        body = self.services[number]
        return {"ID": str(number), "NAME": body["name"], "TEMPLATE": {"BODY": body | {"registration_time": 1}}}

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        self._checked(body, "service.create")
        number = self._id()
        self.services[number] = body
        return {"DOCUMENT": self._shown(number)}

    def _replace(self, number: int, body: dict[str, Any]) -> dict[str, Any]:
        self._checked(body, f"service.update {number}")
        self.services[number] = body
        return {"DOCUMENT": self._shown(number)}

    def _checked(self, body: dict[str, Any], call: str) -> None:
        for role in body["roles"]:
            if not isinstance(role.get("template_id", role.get("vm_template")), int):
                raise ValueError(f"KEY: 'template_id' must be an Integer in role {role['name']}")  # noqa: TRY004
        why = self._write(call)
        if why:
            raise ValueError(why)

    def __enter__(self) -> Site:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server, thread in zip((self._rpc, self._flow), self._threads):
            server.shutdown()
            thread.join()
            server.server_close()


def _sorted(tree: ET.Element) -> ET.Element:
    """As oned gives it back: by name, the order of equal names kept; the keys of a vector by name."""
    tree[:] = sorted(tree, key=lambda e: e.tag)
    for element in tree:
        element[:] = sorted(element, key=lambda e: e.tag)
    return tree

"""The calls of the context generator and of an admin's commands: XML-RPC, and OneFlow's REST for service templates.

The standard library's clients rather than pyone: pyone ignores its time limit and writes dictionaries as template text
without quoting.  Imported only when used: xmlrpc and http take as long to import as a stub takes altogether.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import xmlrpc.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import urlsplit

from vafnebula import errors
from vafnebula.one import pools, rpc, template, xml
from vafnebula.one.template import Template

T = TypeVar("T")
TIMEOUT = 30.0
FLOW = "http://localhost:2474"
NO_EXISTS = 0x0400
ALL = -2
"""one.templatepool.info's filter: whatever the user may use."""


DISKS = ("0", "1", "2")
"""IMAGE/TYPE of what can be a disk: OS, CDROM, DATABLOCK (include/Image.h); the others are files."""
UNUSABLE = {"3": "disabled", "5": "in state ERROR"}
"""IMAGE/STATE in which no VM can start from an image."""


class Refused(errors.RequestError):
    """OpenNebula answered, and the answer is no."""

    sentence = "OpenNebula refuses {what}: {why}"


class Gone(Refused):
    """There is no such object."""


class Away(errors.SiteError):
    """OpenNebula does not answer."""

    sentence = "{what} at {where} gives no usable answer: {why}; is it running, and is its address right?"


@dataclass(frozen=True)
class Registered:
    """A template in OpenNebula."""

    id: int
    name: str
    owner: str
    tree: Template


@dataclass(frozen=True)
class Service:
    """A service template in OneFlow."""

    id: int
    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Running:
    """A VM that exists: `spec` is the fingerprint of the template that it was made from."""

    id: int
    name: str
    template: str
    spec: str


@dataclass(frozen=True)
class Thing:
    """An image (`kind` disk or file) or a virtual network (network); `trouble` is why it cannot be used now, or ''."""

    name: str
    owner: str
    kind: str
    trouble: str = ""


class Api:
    """One site, as one user.  Raises Away when it does not answer, Refused when it says no."""

    def __init__(self, url: str, session: str, flow: str, timeout: float = TIMEOUT) -> None:
        self._session, self._flow, self._timeout = session, flow, timeout
        self._url = url
        self._transport = _transport(url, timeout)
        self._server = xmlrpc.client.ServerProxy(url, transport=self._transport)

    @property
    def user(self) -> str:
        return self._session.partition(":")[0]

    def templates(self) -> list[Registered]:
        pool = xml.parse(self._call("one.templatepool.info", ALL, -1, -1).encode())
        return [
            Registered(
                int(element.findtext("ID", "")),
                element.findtext("NAME", ""),
                element.findtext("UNAME", ""),
                template.from_element(element),
            )
            for element in pool.iterfind("VMTEMPLATE")
        ]

    def template(self, number: int) -> Registered:
        element = xml.parse(self._call("one.template.info", number, False, False).encode())
        name, owner = element.findtext("NAME", ""), element.findtext("UNAME", "")
        return Registered(number, name, owner, template.from_element(element))

    def create(self, name: str, tree: Template) -> int:
        named = Template((template.Single("NAME", name), *tree.attributes))
        return int(self._call("one.template.allocate", template.to_xml(named)))

    def update(self, number: int, tree: Template) -> None:
        self._call("one.template.update", number, template.to_xml(tree), 0)

    def delete(self, number: int) -> None:
        self._call("one.template.delete", number, False)

    def running(self) -> list[Running]:
        """VMs that are not done and were made from a template of ours."""
        pool = xml.parse(self._call("one.vmpool.infoextended", ALL, -1, -1, -1, "").encode())
        return [
            Running(
                int(vm.findtext("ID", "")),
                vm.findtext("NAME", ""),
                vm.findtext("TEMPLATE/TEMPLATE_ID", ""),
                vm.findtext("USER_TEMPLATE/VAF_SPEC_SHA256", ""),
            )
            for vm in pool.iterfind("VM")
            if vm.findtext("USER_TEMPLATE/VAF_SPEC_SHA256")
        ]

    # --- what an admin's commands look at

    def hosts(self) -> list[pools.Host]:
        return self._read(pools.hosts, "one.hostpool.info")

    def datastores(self) -> list[pools.Datastore]:
        return self._read(pools.datastores, "one.datastorepool.info")

    def images(self) -> list[pools.Image]:
        return self._read(pools.images, "one.imagepool.info", ALL, -1, -1)

    def vms(self) -> list[pools.Vm]:
        """All VMs that are not DONE."""
        return self._read(pools.vms, "one.vmpool.infoextended", ALL, -1, -1, -1, "")

    def vm(self, number: int) -> pools.Vm | None:
        """One VM, DONE or not; None when OpenNebula knows of none."""
        try:
            return self._read(pools.vm, "one.vm.info", number, False)
        except Gone:
            return None

    def _read(self, parse: Callable[[bytes], T], method: str, *arguments: object) -> T:
        answer = self._call(method, *arguments).encode()
        try:
            return parse(answer)
        except ValueError as e:
            raise Away(what=method, where=self._url, why=f"the answer cannot be read, {e}") from None

    def usable_images(self) -> list[Thing]:
        """What the user may use, of all datastores."""
        pool = xml.parse(self._call("one.imagepool.info", ALL, -1, -1).encode())
        return [
            Thing(
                image.findtext("NAME", ""),
                image.findtext("UNAME", ""),
                "disk" if image.findtext("TYPE", "") in DISKS else "file",
                UNUSABLE.get(image.findtext("STATE", ""), ""),
            )
            for image in pool.iterfind("IMAGE")
        ]

    def usable_networks(self) -> list[Thing]:
        """What the user may use."""
        pool = xml.parse(self._call("one.vnpool.info", ALL, -1, -1).encode())
        return [Thing(v.findtext("NAME", ""), v.findtext("UNAME", ""), "network") for v in pool.iterfind("VNET")]

    def services(self) -> list[Service]:
        answer = self._rest("GET", "/service_template")
        documents = answer.get("DOCUMENT_POOL", {}).get("DOCUMENT", [])
        return [_service(d) for d in ([documents] if isinstance(documents, dict) else documents)]

    def create_service(self, body: Mapping[str, Any]) -> int:
        return _service(self._rest("POST", "/service_template", body)["DOCUMENT"]).id

    def update_service(self, number: int, body: Mapping[str, Any]) -> None:
        self._rest("PUT", f"/service_template/{number}", body)

    def _call(self, method: str, *arguments: object) -> str:
        try:
            answer = getattr(self._server, method)(self._session, *arguments)
        except (OSError, HTTPException, xmlrpc.client.Error, ValueError) as e:
            raise Away(what="OpenNebula's API", where=self._url, why=_reason(e)) from None
        finally:
            self._transport.close()  # few calls: a kept connection would only be one more thing to end
        if not (isinstance(answer, list) and len(answer) > 1):
            raise Away(what="OpenNebula's API", where=self._url, why="the answer is not OpenNebula's")
        if answer[0] is not True:
            raise (Gone if NO_EXISTS in answer[2:3] else Refused)(what=method, why=answer[1])
        return str(answer[1])

    def _rest(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        place = urlsplit(self._flow)
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        connection = kind(place.hostname or "localhost", place.port, timeout=self._timeout)
        token = base64.b64encode(self._session.encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        try:
            content = None if body is None else json.dumps(body)
            connection.request(verb, place.path.rstrip("/") + path, content, headers)
            with connection.getresponse() as answer:  # it holds the socket when the server named no length
                said = answer.read(rpc.MAX_ANSWER).decode(errors="replace")
            if answer.status >= 400:
                raise Refused(what=f"the service template ({answer.status})", why=said)
            parsed: dict[str, Any] = json.loads(said) if said.strip() else {}
        except (OSError, HTTPException, ValueError) as e:
            raise Away(what="OneFlow", where=self._flow, why=_reason(e)) from None
        finally:
            connection.close()
        return parsed


def connect() -> Api:
    """The site that ONE_XMLRPC, ONE_AUTH and ONEFLOW_URL (or their files and defaults) name, as OpenNebula's tools."""
    try:
        url, session = str(rpc.endpoint()), rpc.credentials()
    except rpc.Trouble as e:
        raise Away(what="OpenNebula's API", where=rpc.DEFAULT, why=f"{e} ({e.advice})") from None
    return Api(url, session, os.environ.get("ONEFLOW_URL", FLOW))


def _service(document: Mapping[str, Any]) -> Service:
    return Service(int(document["ID"]), document["NAME"], document["TEMPLATE"]["BODY"])


def _reason(error: Exception) -> str:
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "it timed out"
    return errors.one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__, 120)


def _transport(url: str, timeout: float) -> xmlrpc.client.Transport:
    if url.startswith("https:"):
        secure = xmlrpc.client.SafeTransport(context=ssl.create_default_context())
        make = secure.make_connection

        def connected(host: Any) -> HTTPSConnection:
            connection = make(host)
            connection.timeout = timeout
            return connection

        secure.make_connection = connected  # type: ignore[method-assign]
        return secure
    return _Timed(timeout)


class _Timed(xmlrpc.client.Transport):
    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._limit = timeout

    def make_connection(self, host: Any) -> HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = self._limit
        return connection

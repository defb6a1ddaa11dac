"""one.vm.info: the one question that a transfer action asks OpenNebula's XML-RPC API.

http.client takes as long to import as the whole question takes, and limits only the time between two bytes; a
server that drips would hold a VM in PROLOG for ever.  So this is HTTP/1.0 over one socket with one deadline for
everything after the resolver.  Where endpoint and credentials come from is what OpenNebula's own clients do:
ONE_XMLRPC or ~/.one/one_endpoint, ONE_AUTH or ~/.one/one_auth.
"""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from vafnebula import errors
from vafnebula.one import xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DEFAULT = "http://localhost:2633/RPC2"
MAX_ANSWER = 64 * 1024 * 1024
_ENDPOINT = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(/[!-~]*)?")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]?([^\r]*)\r?$")


@dataclass(frozen=True)
class Endpoint:
    """Where the API is.  str() is the URL: it has no place for credentials."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


def vm_xml(vm: int, timeout: float) -> bytes:
    """The XML of VM `vm` as OpenNebula has it, within `timeout` seconds.  Raises ApiFailed."""
    return document("one.vm.info", vm, vm, timeout)


def document(method: str, number: int, vm: int, timeout: float) -> bytes:
    """What an `info` method answers about object `number`, asked for the sake of VM `vm`.  Raises ApiFailed."""

    def fail(why: object, advice: str) -> NoReturn:
        raise errors.ApiFailed(endpoint=place, vm=vm, why=why, advice=advice)

    place: object = DEFAULT
    try:
        place = endpoint()
        session = credentials()
        deadline = Deadline(timeout)
        with connect(place, deadline) as connection:
            ok, said = answer(exchange(connection, place, question(method, session, number, False), deadline))
    except Trouble as e:
        fail(e, e.advice)
    except TimeoutError:
        fail(f"timed out after {timeout} s", "is oned busy? see oned.log, or raise api_timeout in vafnebula.conf")
    except OSError as e:
        fail(e.strerror or e, "is oned running, and ONE_XMLRPC or ~/.one/one_endpoint right?")
    if not ok:
        what = "this VM" if method == "one.vm.info" else f"{method.split('.')[1]} {number}"
        fail(f"it says {errors.one_line(said, 150)}", f"does the user of ~/.one/one_auth see {what}?")
    return said.encode()


class Trouble(Exception):
    """Why there is no usable answer, and what to do."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


def endpoint() -> Endpoint:
    """The API's place: ONE_XMLRPC, the first line of ~/.one/one_endpoint, or port 2633 of this machine."""
    url = os.environ.get("ONE_XMLRPC", "")
    if not url:
        try:
            with open(_home("one_endpoint"), encoding="utf-8") as file:  # noqa: PTH123  pathlib is slow to import
                url = file.readline().strip()
        except (OSError, UnicodeDecodeError):
            url = ""
    url = url or DEFAULT
    found = _ENDPOINT.fullmatch(url)
    if not found or int(found[3] or 0) > 65535:
        raise Trouble("the endpoint is not a plain http or https URL", "correct ONE_XMLRPC or ~/.one/one_endpoint")
    scheme, host, port, path = found.groups()
    return Endpoint(scheme, host, int(port or (443 if scheme == "https" else 80)), path or "/RPC2")


def credentials() -> str:
    """`user:password` from the file ONE_AUTH or ~/.one/one_auth."""
    path = os.environ.get("ONE_AUTH") or _home("one_auth")
    advice = "OpenNebula's installation makes it for oneadmin"
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            session = file.readline().strip()
    except OSError as e:
        raise Trouble(f"credentials {path} cannot be read ({e.strerror})", advice) from e
    except UnicodeDecodeError as e:
        raise Trouble(f"credentials {path} are not text", advice) from e
    if ":" not in session:
        raise Trouble(f"credentials {path} are not user:password", advice)
    return session


def _home(name: str) -> str:
    return os.path.expanduser(f"~/.one/{name}")  # noqa: PTH111


def question(method: str, session: str, *arguments: str | int | bool) -> bytes:
    """The body of a call, `session` being its first argument."""
    params = "".join(f"<param><value>{_value(a)}</value></param>" for a in (session, *arguments))
    call = f"<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"
    return f'<?xml version="1.0"?>\n{call}'.encode()


def _value(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return f"<boolean>{value:d}</boolean>"
    if isinstance(value, int):
        return f"<i4>{value}</i4>"
    return f"<string>{escape(value)}</string>"


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Deadline:
    """The end of a call, `timeout` seconds from now."""

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout

    def left(self) -> float:
        """Seconds that are left.  Raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def exchange(connection: socket.socket, place: Endpoint, body: bytes, deadline: Deadline) -> bytes:
    """POST `body`; the body of the answer.  OSError (TimeoutError at the deadline) or Trouble."""
    head = (
        f"POST {place.path} HTTP/1.0\r\nHost: {place.host}:{place.port}\r\nUser-Agent: vafnebula\r\n"
        f"Content-Type: text/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    connection.settimeout(deadline.left())
    connection.sendall(head.encode() + body)
    said = bytearray()
    while True:
        connection.settimeout(deadline.left())
        piece = connection.recv(256 * 1024)
        if not piece:
            return _body(bytes(said))
        said += piece
        if len(said) > MAX_ANSWER:
            raise Trouble(f"the answer has more than {MAX_ANSWER} bytes", "is the endpoint OpenNebula's?")


def connect(place: Endpoint, deadline: Deadline) -> socket.socket:
    """A connection to the first address that answers; over TLS with the usual verification for https."""
    refusal: OSError = OSError("no address")
    addresses = socket.getaddrinfo(place.host.strip("[]"), place.port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(deadline.left())
            connection.connect(address)
            if place.scheme == "https":
                import ssl  # only then: it takes 10 ms

                context = ssl.create_default_context()
                return context.wrap_socket(connection, server_hostname=place.host.strip("[]"))
            return connection
        except TimeoutError:
            connection.close()
            raise
        except OSError as e:
            connection.close()
            refusal = e
    raise refusal


def _body(answer: bytes) -> bytes:
    """The body of an HTTP answer that ended with the connection."""
    strange = "is the endpoint OpenNebula's XML-RPC?"
    head, found, body = answer.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\n")
    status = _STATUS.match(first.rstrip(b"\r"))
    if not found or not status:
        raise Trouble("the answer was cut short" if answer[:5] == b"HTTP/" else "the answer is not HTTP", strange)
    if status[1] != b"200":
        raise Trouble(errors.one_line(f"HTTP status {status[1].decode()} {status[2].decode('latin-1')}", 80), strange)
    for field in fields:
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
            if len(body) < length:
                raise Trouble("the answer was cut short", "see oned.log, then retry")
            return body[:length]
    return body


def answer(body: bytes) -> tuple[bool, str]:
    """(ok, XML or error text) of an answer, which is an array [ok, text, code, ...] in OpenNebula's API."""
    try:
        root = xml.parse(body)
    except ValueError as e:
        raise Trouble(f"the answer is not XML-RPC, {e}", "is the endpoint OpenNebula's XML-RPC?") from e
    fault = root.find("fault/value/struct")
    if fault is not None:
        said = " ".join(text for text in (t.strip() for t in fault.itertext()) if text)
        raise Trouble(f"XML-RPC fault {errors.one_line(said, 150)}", "is oned older than 6.10?")
    values = [_text(v) for v in root.iterfind("params/param/value/array/data/value")]
    if root.tag != "methodResponse" or len(values) < 2 or values[0] not in ("0", "1"):
        raise Trouble("the answer is not XML-RPC of OpenNebula", "is the endpoint OpenNebula's XML-RPC?")
    return values[0] == "1", values[1] if values[0] == "1" else f"{values[1]} (code {','.join(values[2:3])})"


def _text(value: Element) -> str:
    """The text of an XML-RPC value: of its type element, or its own (an untyped value is a string)."""
    return (value[0].text if len(value) else value.text) or ""

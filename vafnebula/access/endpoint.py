"""The endpoint: HTTPS that asks for a client certificate, and gives its holder's account a key for a while.

    POST /key   the body is a public key; empty: the certificate's own key.  Answer: the account and the end.
    GET /       who the caller is here, and which keys are registered.

TLS verifies the chain, the dates and the revocation list of a caller before a byte of HTTP is read.  The context is
made anew for each connection, so that new revocation lists count at once.
"""

from __future__ import annotations

import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any

from vafnebula import errors, log
from vafnebula.access import accounts, publickey, subject
from vafnebula.access.registry import Entry, Registry
from vafnebula.access.settings import Settings
from vafnebula.keyvalue import Unusable

TIMEOUT = 20
LARGEST = 8192


class Unknown(errors.RequestError):
    sentence = "the certificate is good, but {subject} has no account here; ask the admin"


def context(site: Settings) -> ssl.SSLContext:
    """TLS as this site wants it.  Raises Unusable."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_REQUIRED
    path = site.certificate
    try:
        made.load_cert_chain(site.certificate, site.key)
        path = site.ca
        made.load_verify_locations(**_place(site.ca))
        path = site.crl
        _lists(made, site.crl)
    except OSError as e:  # an SSLError is one
        raise Unusable(path=path, why=f"it cannot be used: {e.strerror or e}") from e
    return made


def _place(path: str) -> dict[str, str]:
    return {"capath": path} if Path(path).is_dir() else {"cafile": path}


def _lists(made: ssl.SSLContext, crl: str) -> None:
    """A list must be there, and not be outdated, or nobody gets in."""
    if crl == "none":
        return
    if crl != "directory":
        made.load_verify_locations(cafile=crl)
    made.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


class Server(ThreadingHTTPServer):
    """The server of `site`; `serve_forever` runs it."""

    daemon_threads = True

    def __init__(self, site: Settings) -> None:
        context(site)  # what is wrong is said now, not to the first caller
        accounts.load(site.accounts)
        self.site = site
        self.registry = Registry(site.registry)
        super().__init__((site.listen, site.port), _Handler)

    def finish_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """In the connection's own thread: a slow handshake delays nobody else."""
        assert isinstance(request, socket)  # of a stream
        request.settimeout(TIMEOUT)
        try:
            with context(self.site).wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)
        except (OSError, errors.Error) as e:
            log.trouble("access refused", address=client_address[0], why=errors.one_line(str(e), 120))

    def shutdown_request(self, request: socket | tuple[bytes, socket]) -> None:
        assert isinstance(request, socket)
        if request.fileno() >= 0:  # TLS took it over otherwise, and has closed it
            super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    connection: ssl.SSLSocket
    server_version, sys_version = "vafnebula", ""

    def do_GET(self) -> None:
        self._answered(self._show, "/")

    def do_POST(self) -> None:
        self._answered(self._register, "/key")

    def _answered(self, deed: Any, path: str) -> None:
        status = 200
        try:
            said = deed() if self.path == path else ""
            status = 200 if said else 404
        except Unknown as e:
            status, said = 403, f"{e}\n"
        except errors.RequestError as e:
            status, said = 400, f"{e}\n"
        except errors.Error as e:
            log.trouble("access failed", why=str(e))
            status, said = 500, "the server is not in order; its admin finds the reason in syslog\n"
        data = said.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def _caller(self) -> tuple[str, str]:
        """Subject and account.  Raises Unknown, BadArgument, Unusable."""
        certificate: Any = self.connection.getpeercert() or {}
        name = subject.text(certificate.get("subject", ()))
        account = accounts.load(self.server.site.accounts).get(name)
        if account is None:
            raise Unknown(subject=name)
        return name, account

    def _show(self) -> str:
        name, account = self._caller()
        found = self.server.registry.entries(int(time.time()), account)
        keys = "".join(f"{_time(entry.expires)} {entry.key[:60]}...\n" for entry in found)
        return f"{name} is {account}\n{keys}"

    def _register(self) -> str:
        body = self._body()
        name, account = self._caller()
        if body:
            key = publickey.parse(body.decode("utf-8", "replace"))
        else:
            key = publickey.of_certificate(self.connection.getpeercert(binary_form=True) or b"")
        certificate: Any = self.connection.getpeercert()
        now, site = int(time.time()), self.server.site
        end = min(now + site.hours * 3600, int(ssl.cert_time_to_seconds(certificate["notAfter"])))
        self.server.registry.register(Entry(account, key, name, end), now, site.most)
        log.event("access key", account=account, subject=name, expires=end, address=self.client_address[0])
        return f"{account} until {_time(end)}\n"

    def _body(self) -> bytes:
        """What was sent; first, because an answer before it was read might never arrive.  Raises BadArgument."""
        size = self.headers.get("Content-Length", "0")
        if not size.isdecimal() or int(size) > 8 * LARGEST or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise errors.BadArgument(what="length", value=size[:20], why=f"a key has at most {LARGEST} bytes")
        body = self.rfile.read(int(size))
        if len(body) > LARGEST:
            raise errors.BadArgument(what="length", value=size[:20], why=f"a key has at most {LARGEST} bytes")
        return body

    def log_message(self, format: str, *args: object) -> None:
        """Requests are logged by what they did, above."""


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))

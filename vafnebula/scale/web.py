"""The status pages and the REST API: reading is free where they listen, writing needs a token or the local socket.

    GET  /               supply, demand, every VM, why jobs wait           GET /monitor   nodes and what their VMs use
    GET  /metrics        Prometheus                                        GET /healthz   200 while cycles happen
    GET  /api/v1/status  the same as JSON                                  GET /api/v1/jobs/<id>   why it waits
    POST /api/v1/pools/<name>  {"min": 2, "max": 8}; null gives the policy's own back

Flask escapes what it renders, and a browser gets a policy that runs no script at all, so a job's name stays a name.
The pages run in waitress threads and only read what the last cycle published.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, render_template, request
from markupsafe import Markup
from waitress.server import BaseWSGIServer, create_server
from werkzeug.exceptions import HTTPException

from vafnebula import errors, log
from vafnebula.scale import graph, metrics, view
from vafnebula.scale.history import History
from vafnebula.scale.journal import NotWritten
from vafnebula.scale.loop import NotLeading, Scaler
from vafnebula.scale.policy import ServiceSection
from vafnebula.scale.squeeze import Row
from vafnebula.scale.state import Bounds

THREADS = 8
POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
SHOWN = 200
"""Jobs and journal lines that a page shows at most; the API has them all."""


class BadToken(errors.SiteError):
    sentence = "token file {path}: {why}; make one that only the scaler's user can read"


class NoAddress(errors.SiteError):
    sentence = "nothing can listen at {where}: {why}; correct service.listen or service.local"


def token(path: Path) -> bytes:
    """The digest of the secret in `path`, read anew for each call so that it can be changed.  Raises BadToken."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(4096).strip()
    except OSError as e:
        raise BadToken(path=path, why=e.strerror) from e
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise BadToken(path=path, why="others may read or change it")
    if len(secret) < 16:
        raise BadToken(path=path, why="a token has at least 16 characters")
    return hashlib.sha256(secret).digest()


def application(
    scaler: Scaler,
    history: History,
    service: ServiceSection,
    *,
    local: bool = False,
    wake: Callable[[], None] = lambda: None,
    rows: Callable[[], tuple[Row, ...]] = tuple,
) -> Flask:
    """The WSGI application; `local`: its callers came through the local socket, whose mode is the permission."""
    app = Flask("vafnebula.scale", template_folder="pages", static_folder="pages/static")
    app.config["MAX_CONTENT_LENGTH"] = 4096
    registry = metrics.registry(scaler)

    @app.after_request
    def headers(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["X-Frame-Options"] = "DENY"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.description), error.code or 500

    @app.get("/")
    def index() -> str:
        report, state = scaler.report, scaler.state
        picture = Markup(graph.svg(history.points))  # noqa: S704  numbers and dates of ours only
        return render_template(
            "index.html", **view.page(report, state, scaler.policy, SHOWN), picture=picture, dry_run=scaler.dry_run
        )

    @app.get("/monitor")
    def monitor() -> str:
        seen = scaler.report.seen if scaler.report else None
        return render_template("monitor.html", hosts=view.monitor(seen.all if seen else (), rows(), scaler.state))

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics.text(registry), content_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz")
    def health() -> tuple[str, int]:
        late = scaler.report is None or time.time() - scaler.report.snapshot.now > 3 * service.period
        return ("late\n", 503) if late else ("ok\n", 200)

    @app.get("/api/v1/status")
    def status() -> Response:
        return jsonify(view.status(scaler.report, scaler.state))

    @app.get("/api/v1/jobs/<path:job>")
    def job(job: str) -> Response:
        said = view.job(scaler.report, job)
        if said is None:
            abort(404, "no such job in the last snapshot")
        return jsonify(said)

    @app.post("/api/v1/pools/<pool>")
    def scale(pool: str) -> Response:
        caller = _caller(service, local)
        wanted = request.get_json(silent=True)
        if not isinstance(wanted, dict) or not wanted.keys() <= {"min", "max"} or not all(map(_bound, wanted.values())):
            abort(400, 'the body must be JSON such as {"min": 2, "max": 8}')
        try:
            bounds = scaler.scale(pool, Bounds(wanted.get("min"), wanted.get("max")), caller)
        except errors.BadArgument as e:
            abort(400, str(e))
        except NotLeading as e:
            abort(409, str(e))
        except NotWritten as e:
            abort(503, str(e))
        wake()
        return jsonify(pool=pool, min=bounds.min, max=bounds.max)

    return app


def _bound(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _caller(service: ServiceSection, local: bool) -> str:
    """Who may write: whoever could open the local socket, or who has the token.  Ends the request otherwise."""
    if local:
        return "local socket"
    if service.token_file is None:
        abort(403, "writing is switched off here: no token_file is configured; use the local socket")
    scheme, _, said = request.headers.get("Authorization", "").partition(" ")
    try:
        expected = token(Path(service.token_file))
    except BadToken as e:
        log.trouble("api", why=e)
        abort(503, "the token file cannot be used; see the log")
    given = hashlib.sha256(said.strip().encode(errors="replace")).digest()
    if not hmac.compare_digest(given, expected) or scheme.lower() != "bearer":
        log.trouble("api", why="write refused: wrong or no token", peer=request.remote_addr)
        abort(401, "writing needs the header Authorization: Bearer <token>")
    return f"token from {request.remote_addr}"


class Pages:
    """The servers: TCP where `listen` says, and the local socket; each in a thread of its own."""

    def __init__(
        self,
        scaler: Scaler,
        history: History,
        service: ServiceSection,
        wake: Callable[[], None],
        rows: Callable[[], tuple[Row, ...]] = tuple,
    ) -> None:
        inside = application(scaler, history, service, local=True, wake=wake, rows=rows)
        self._servers = [_server(inside, 2, unix_socket=service.local, unix_socket_perms="660")]
        if service.listen:
            outside = application(scaler, history, service, wake=wake, rows=rows)
            self._servers.append(_server(outside, THREADS, listen=service.listen))
        self._socket = Path(service.local)
        self._threads = [threading.Thread(target=s.run, daemon=True) for s in self._servers]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            bell: Any = server.trigger  # the stubs have it wrong
            bell.pull_trigger(partial(_end, server))
            thread.join(10)
        self._socket.unlink(missing_ok=True)


def _server(app: Flask, threads: int, **where: Any) -> BaseWSGIServer:
    """One server on one address, with a loop of its own.  Raises NoAddress."""
    try:
        made = create_server(app, map={}, threads=threads, connection_limit=256, ident=None, **where)
    except OSError as e:
        raise NoAddress(where=" ".join(where.values()), why=e.strerror) from e
    assert isinstance(made, BaseWSGIServer)
    return made


def _end(server: BaseWSGIServer) -> None:
    """In the server's own thread: its workers, its connections, then itself."""
    server.task_dispatcher.shutdown(timeout=2)
    channels: dict[int, Any] = server.active_channels  # type: ignore[assignment]  # the stubs have it wrong
    for channel in list(channels.values()):
        channel.handle_close()
    server.close()

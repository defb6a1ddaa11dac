"""An HTTP server that stands for one of OpenNebula's, for as long as a `with` block runs."""

from __future__ import annotations

import threading
from socketserver import BaseServer
from types import TracebackType
from typing import Generic, TypeVar

S = TypeVar("S", bound="Served")
Server = TypeVar("Server", bound=BaseServer)


class Served(Generic[Server]):
    """Serves `server` in a thread of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self: S) -> S:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

"""An HTTP server that stands for one of OpenNebula's, for as long as a `with` block runs."""

from __future__ import annotations

import threading
from socketserver import BaseServer
from types import TracebackType
from typing import TypeVar

S = TypeVar("S", bound="Served")


class Served:
    """Serves `server` in a thread of its own."""

    def __init__(self, server: BaseServer) -> None:
        self._served = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self: S) -> S:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._served.shutdown()
        self._thread.join()
        self._served.server_close()

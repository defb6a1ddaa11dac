"""The node half's entry: one Order as a line of JSON on stdin, one Reply as JSON on stdout.

A deed that moves a disk may read more of stdin and write a stream in front of the reply (wire.py).

Errors are part of the reply, so the exit code is 0 whenever there is one.  If the front-end is gone by then, the deed
is done all the same; the retry will find it.
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

from vafnebula import __version__, errors, log
from vafnebula.model import Order, Reply
from vafnebula.node import signals
from vafnebula.node.host import Host


def perform(order: Order, host: Host) -> dict[str, Any]:
    """Do the deed; returns its facts, with its `seconds`.  Raises errors.Error."""
    verb = order.request.verb
    # Imported on demand: starting Python is a good part of a warm clone.
    deed = getattr(importlib.import_module(f"vafnebula.node.deeds.{verb}"), verb)
    begin = time.monotonic()
    try:
        facts = deed(host, order.request, order.settings)
    except OSError as e:
        raise errors.SystemRefused(path=e.filename or "node", why=e.strerror or str(e)) from e
    return {**facts, "seconds": round(time.monotonic() - begin, 4)}


def answer(text: bytes, host: Host) -> Reply:
    """The reply to an order.  Never raises: what nobody foresaw becomes a Bug, with the details in syslog."""
    what = "request"
    try:
        order = Order.from_json(text, __version__)
        what = order.request.verb
        facts = perform(order, host)
        log.event(what, **_place(order.request), **{k: v for k, v in facts.items() if not isinstance(v, (dict, list))})
        return Reply(__version__, facts=facts)
    except errors.Error as e:
        log.trouble(what, error=type(e).__name__, why=e)
        return Reply(__version__, error=type(e).__name__, text=str(e))
    except Exception as e:  # noqa: BLE001  the outermost place
        import traceback  # costs more than a tenth of a warm clone to load

        log.trouble(what, traceback=traceback.format_exc())
        return Reply(__version__, error="Bug", text=str(errors.Bug(why=f"{type(e).__name__} in {what}")))


def _place(request: Any) -> dict[str, Any]:
    disk: Any = getattr(request, "disk", None)
    if disk is None:  # what an admin asks for
        return {k: v for k in ("sds", "key", "pinned") if (v := getattr(request, k, None)) is not None}
    return {"vm": request.vm, "disk": disk} if isinstance(disk, int) else {"vm": disk.vm, "disk": disk.disk}


def main() -> None:
    signals.install()
    reply = answer(sys.stdin.buffer.readline(), Host())
    try:
        sys.stdout.buffer.write(reply.to_json() + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        log.trouble("reply", lost=reply.error or "success")
        sys.stderr.close()

"""A stub's work: argv -> one API read -> request -> one ssh -> exit code.

Silence and 0, or exactly one plain line on stderr and 1: OpenNebula glues several lines together, and takes a number
after a level word for the id of a VM (7.4 crashes when there is no such VM).  Details go to syslog.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from vafnebula import errors

if TYPE_CHECKING:
    from vafnebula.one.xml import Vm
    from vafnebula.tm.argv import Call


def main(argv: Sequence[str]) -> int:
    """Run the stub `argv[0]` with the arguments after it; the exit code."""
    title = argv[0].rpartition("/")[2]
    try:
        from vafnebula.tm import argv as arguments  # imports belong to what may fail

        call = arguments.parse(argv[0], argv[1:])
        title = call.title
        perform(call, remotes=arguments.remotes_of(argv[0]))
    except BaseException as e:  # noqa: BLE001  the one place where everything ends
        say(sentence(title, e))
        return 1
    return 0


def perform(call: Call, remotes: str) -> None:
    """Carry out `call`; `remotes` is the directory that holds tm/, etc/ and vafnebula/.  Raises errors.Error."""
    from vafnebula import config, log
    from vafnebula.tm.order import order

    started = time.monotonic()
    site = config.load(f"{remotes}/etc/vafnebula/vafnebula.conf")

    def read() -> Vm:
        from vafnebula.one import rpc, xml

        return xml.vm(rpc.vm_xml(call.vm, site.api_timeout), call.vm)

    module = import_module(f"vafnebula.tm.{call.verb}")
    if hasattr(module, "perform"):  # more than one request to one node
        done = module.perform(call, read, site)
    else:
        done = order(call, module.request(call, read), site)
    facts = {"vm": call.vm, "disk": call.disk, "host": call.host, "total": time.monotonic() - started}
    log.event(call.verb, **{**done, **facts})


def sentence(title: str, error: BaseException) -> str:
    """The one line for `error`: `title: why; what to do`.  What a person cannot use goes to syslog instead."""
    if isinstance(error, KeyboardInterrupt):
        error = errors.Interrupted(why="by the keyboard")
    if not isinstance(error, errors.Error):
        trace(title, error)
        error = errors.Bug(why=f"{type(error).__name__} ({errors.one_line(str(error), 100)})")
    return errors.one_line(f"{title}: {error}")


def trace(title: str, error: BaseException) -> None:
    """Tell syslog where an unexpected error came from; in an installation without our log module, nobody."""
    import traceback

    with contextlib.suppress(ImportError):
        from vafnebula import log

        log.trouble(title, trace=" | ".join(traceback.format_exception(type(error), error, error.__traceback__)))


def say(line: str) -> None:
    """Write `line` to stderr.  Nobody may be reading: OpenNebula closes the pipes of an action that it cancels."""
    try:
        os.write(2, line.encode(errors="backslashreplace") + b"\n")
    except OSError:
        return

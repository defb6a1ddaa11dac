"""The program `join`: one verb per job.  On failure it prints one line, and ends with 1.

A verb imports what it needs: sshd starts this program three times while a worker joins.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vafnebula import errors
from vafnebula.join import settings

if TYPE_CHECKING:
    from vafnebula.join.settings import Settings
    from vafnebula.join.vms import Vm

STATE = "/var/lib/vafnebula"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


def _vms(site: Settings) -> Callable[[], list[Vm]] | None:
    if site.lookup == "onegate":
        from vafnebula.join import onegate

        return lambda: onegate.load(site.onegate).vms()
    if site.lookup == "api":
        from vafnebula.join import api

        return lambda: api.load().vms(site)
    return None


def _keys(words: Sequence[str]) -> str:
    """keys USER"""
    from vafnebula.join import keys
    from vafnebula.join.ledger import Ledger

    site = settings.load()
    vms = _vms(site)
    if vms is None or list(words) != [keys.USER]:
        return ""
    return "".join(f"{line}\n" for line in keys.lines(site, Ledger(site.state), vms(), time.time()))


def _register(words: Sequence[str]) -> str:
    """register [VM]"""
    from vafnebula.join.batch import Batch
    from vafnebula.join.ledger import Ledger
    from vafnebula.join.register import register

    site = settings.load()
    vm = int(words[0]) if words else None
    return register(site, Ledger(site.state), Batch(site.batch), _vms(site), os.environ, time.time(), vm)


def _batch(words: Sequence[str]) -> str:
    """batch has NAME, batch add NAME ADDRESS SLOTS MIB"""
    from vafnebula.join import batch

    return batch.answer(settings.load(), words)


def _announce(words: Sequence[str]) -> str:
    """announce ADDRESS: publish where this head is, and its host key"""
    from vafnebula.join import onegate, vms

    with open(HOST_KEY, encoding="ascii") as file:  # noqa: PTH123
        key = vms.well_formed(file.read())
    onegate.load(settings.load().onegate).publish({"VAF_ADDRESS": words[0], "VAF_HOST_KEY": key})
    return ""


def _ask(words: Sequence[str]) -> str:
    """ask SLOTS MIB"""
    from pathlib import Path

    from vafnebula.join import ask

    slots, memory = int(words[0]), int(words[1])
    return ask.ask(os.environ, Path(STATE), Path(settings.Settings.onegate), slots, memory) + "\n"


def _unknown(words: Sequence[str]) -> str:
    raise errors.BadArgument(what="verb", value=sys.argv[1:2], why=f"known are {', '.join(VERBS)}")


VERBS = {"keys": _keys, "register": _register, "batch": _batch, "announce": _announce, "ask": _ask}


def main() -> None:
    verb, words = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    try:
        said = VERBS.get(verb, _unknown)(words)
    except errors.Error as e:
        if verb == "keys":  # sshd tells nobody
            _audited(str(e))
        sys.exit(f"vafnebula: {verb}: {e}")
    except Exception as e:  # noqa: BLE001  a traceback would go to whoever asked
        _audited(f"{verb}: {type(e).__name__}: {e}")
        sys.exit(f"vafnebula: {verb}: {errors.Bug(why=type(e).__name__)}")
    sys.stdout.write(said)


def _audited(why: str) -> None:
    from vafnebula.join import audit

    audit.refused("unknown", why)

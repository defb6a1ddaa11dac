"""What most calls come to: one order to the node that they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vafnebula import __version__, ssh
from vafnebula.config import Site
from vafnebula.model import Order
from vafnebula.tm.argv import Call


def order(call: Call, wanted: Any, site: Site, *, forward: bool = False) -> Mapping[str, object]:
    """Have the node of `call` do what is `wanted`; the facts.  With `forward` it may enter other nodes for that.

    Raises what ssh.ask raises.
    """
    return ssh.ask(call.host, Order(__version__, wanted, site.storage(call.sds)), site, forward=forward).facts

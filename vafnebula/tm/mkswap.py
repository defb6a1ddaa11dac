"""mkswap: a volatile swap disk."""

from __future__ import annotations

from typing import Callable

from vafnebula.model import MakeSwap
from vafnebula.one.xml import Vm
from vafnebula.tm import reference
from vafnebula.tm.argv import Call


def request(call: Call, read: Callable[[], Vm]) -> MakeSwap:
    """The size comes with the call, the label (DISK/VAF_LABEL) with the record."""
    vm = read()
    label = vm.disk(call.disk).label or f"swap-{call.disk}"
    return MakeSwap(disk=reference.disk(call, vm), size=call.size, label=label)

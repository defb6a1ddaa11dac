"""register: the forced command of the user `vafreg`.  Whatever it refuses is refused before anything is changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vafnebula import errors
from vafnebula.join import audit, request
from vafnebula.join.batch import Batch
from vafnebula.join.ledger import Ledger
from vafnebula.join.request import Join, Refused
from vafnebula.join.settings import Settings
from vafnebula.join.vms import Vm, the_one


@dataclass(frozen=True)
class Caller:
    """Who asks: `name` is what the batch system will call it, `who` what a repetition must have in common."""

    name: str
    who: str
    address: str


def register(
    settings: Settings,
    ledger: Ledger,
    batch: Batch,
    vms: Callable[[], list[Vm]] | None,
    environment: Mapping[str, str],
    now: float,
    vm: int | None = None,
) -> str:
    """Let a worker in; the text that it gets.  Raises Refused, with an audit line; other errors are audited too.

    `vms` asks OpenNebula, None at level 1; `vm` is the VM that sshd found the key to belong to, None at level 1.
    """
    address, said = "unknown", environment.get("SSH_ORIGINAL_COMMAND", "")
    try:
        address = request.source(environment.get("SSH_CONNECTION", ""))
        ledger.attempt(address, now, settings.attempts)
        join = request.parse(said)
        _within(settings, address, join)
        caller = _unasked(settings, address, join) if vms is None else _asked(settings, ledger, vms(), address, vm, now)
        _claim(ledger, batch, caller, now, vms is None)
        reply = batch.add(caller.name, address, join.slots, join.memory)
        ledger.joined(caller.name, caller.who)
    except Refused as e:
        audit.refused(address, e.why, vm=vm, said=said[: request.LIMIT])
        raise
    except errors.Error as e:
        audit.refused(address, str(e), vm=vm, said=said[: request.LIMIT])
        raise
    audit.granted(address, vm=vm, name=caller.name, slots=join.slots, memory=join.memory)
    return reply


def _unasked(settings: Settings, address: str, join: Join) -> Caller:
    """Level 1: all have the same key, and the address alone says who it is."""
    digits = ipaddress.ip_address(address).exploded.replace(".", "-").replace(":", "-")
    return Caller(f"{settings.prefix}-{digits}", join.id, address)


def _asked(settings: Settings, ledger: Ledger, vms: list[Vm], address: str, number: int | None, now: float) -> Caller:
    """Level 2: OpenNebula says which VM has the address; its key is the one that it was first seen with."""
    vm = the_one(vms, settings.role, address)
    if number is None or vm.id != number:
        raise Refused(f"the key belongs to VM {number}, the address to VM {vm.id}")
    key, since = ledger.seen(vm.id, vm.key, now)
    if not key or key != vm.key:
        raise Refused(f"VM {vm.id} was first seen with another key")
    caller = Caller(f"{settings.prefix}-{vm.id}", vm.fingerprint, address)
    member = ledger.member(caller.name)
    if now > since + settings.window and not (member and member.joined and member.who == caller.who):
        raise Refused(f"VM {vm.id} was first seen more than {settings.window} s ago")
    return caller


def _within(settings: Settings, address: str, join: Join) -> None:
    if not settings.inside(address):
        raise Refused(f"the address is not in {settings.network}")
    if join.slots > settings.slots or join.memory > settings.memory:
        raise Refused(f"a worker here has at most {settings.slots} slots and {settings.memory} MiB")


def _claim(ledger: Ledger, batch: Batch, caller: Caller, now: float, reusable: bool) -> None:
    """Take the name, or find it taken by the same worker.

    A name of a VM is never given again.  That of an address is, once the batch system no longer has it: whoever had
    it was removed.  A worker that was removed may not come back: its VM is about to go.
    """
    member = ledger.claim(caller.name, caller.who, caller.address, now)
    same = (member.who, member.address) == (caller.who, caller.address)
    if same and not member.joined:
        return
    there = batch.has(caller.name)
    if same and (there or not batch.keeps_nodes):
        return
    if same:
        raise Refused(f"{caller.name} was removed from the batch system")
    if there or not reusable:
        raise Refused(f"the name {caller.name} is taken by another worker")
    ledger.forget(member)
    if ledger.claim(caller.name, caller.who, caller.address, now).who != caller.who:
        raise Refused(f"the name {caller.name} is taken by another worker")

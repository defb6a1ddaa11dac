"""OpenNebula as the scaler sees it: VMs of ours among all VMs, started once and ended surely.

A VM is ours when the scaler's own user owns it and it carries a pool's label (VAF_POOL).  The owner counts because a
label alone is free for anybody to write.  Nothing else is ever touched, and what is to be ended is looked at again.

Instantiating is not idempotent, so a request's label (VAF_REQUEST) is its key: whoever does not know whether a call
came through looks for the label before he calls again.  Here nothing is ever called twice; see recovery.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vafnebula import errors
from vafnebula.one.api import Service
from vafnebula.one.template import Single, Template
from vafnebula.one.vms import ALL, MINE, Client, Listed, Refused, Unanswered, Unsent
from vafnebula.scale.model import (
    POOL_LABEL,
    REQUEST_LABEL,
    TEMPLATE_LABEL,
    Shape,
    Source,
    Start,
    Terminate,
    Vm,
    VmState,
)
from vafnebula.scale.policy import Reference

ACTIVE, DONE = 3, 6
RUNNING = 3
_BY_STATE: dict[int, VmState] = {0: "pending", 1: "pending", 7: "failed", 10: "pending", 11: "failed"}
_BOOTING = {0, 1, 2, 15}
_STOPPING = {11, 12, 13, 23}
_FAILED = {14, 36, 37, 38, 39, 40, 41, 42, 44, 46, 47, 48, 49, 50, 61}
"""LCM states as VirtualMachine.h numbers them: PROLOG, BOOT, CLEANUP_RESUBMIT; EPILOG, SHUTDOWN, ...; *_FAILURE."""

_FIELD = re.compile(r"\{(\w*)\}")
_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62})")


class NotOurs(errors.RequestError):
    sentence = "VM {vm} is not touched: {why}"


class BadNodeName(errors.SiteError):
    sentence = "node_name {pattern!r} cannot name nodes: {why}; use vaf-{{vm}}"


@dataclass(frozen=True)
class Seen:
    """One look: all VMs as OpenNebula lists them, and those that are ours."""

    source: Source
    vms: tuple[Vm, ...] = ()
    all: tuple[Listed, ...] = ()


class Cloud:
    """`node_name` gives the name of a VM in the batch system from {vm}, {name} and {pool}.

    `everyone`: list other users' VMs too, which squeeze must see; on a large site our own are far fewer.
    """

    def __init__(
        self,
        client: Client,
        pools: Sequence[str],
        node_name: str = "vaf-{vm}",
        everyone: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._who = ALL if everyone else MINE
        self._client, self._pools, self._pattern, self._clock = client, frozenset(pools), node_name, clock
        _check(node_name)

    def look(self) -> Seen:
        """What OpenNebula lists now.  Never raises: what cannot be seen is an incomplete source."""
        at = self._clock()
        try:
            listed = self._client.vms(self._who)
            user = self._client.user
        except errors.Error as e:
            return Seen(Source(at, False, str(e)))
        ours = tuple(self._vm(vm) for vm in listed if self._is_ours(vm, user))
        return Seen(Source(at), ours, tuple(listed))

    def leads(self) -> bool:
        """Whether this front-end may act.  Raises Unsent, Unanswered or Refused when it does not say."""
        return self._client.leads()

    def start(self, action: Start) -> int:
        """The id of the VM that was made.  Refused, Unsent: there is none.  Unanswered: there may be one."""
        labels = {POOL_LABEL: action.pool, REQUEST_LABEL: action.request, TEMPLATE_LABEL: action.template}
        extra = Template(tuple(Single(name, value) for name, value in labels.items()))
        return self._client.instantiate(action.template_id, f"{action.pool}-{action.request}", extra)

    def terminate(self, action: Terminate) -> str:
        """End a VM of ours; what was done.  Raises NotOurs, Refused, Unsent, Unanswered."""
        vm = self._client.vm(action.vm)
        if not self._is_ours(vm, self._client.user) or vm.labels.get(POOL_LABEL) != action.pool:
            raise NotOurs(vm=action.vm, why=f"it does not carry our label of pool {action.pool}")
        if action.request and vm.labels.get(REQUEST_LABEL) != action.request:
            raise NotOurs(vm=action.vm, why="it was not made by this request")
        if vm.state == DONE or (vm.state == ACTIVE and vm.lcm in _STOPPING and not action.hard):
            return "it is ending already"
        if vm.state == ACTIVE and vm.lcm in _BOOTING:
            self._client.delete(vm.id)
            return "deleted in the middle of its boot"
        self._client.terminate(vm.id, action.hard)
        return "terminated at once" if action.hard else "told to shut down"

    def resolve(
        self, references: Collection[Reference], services: Callable[[], Sequence[Service]]
    ) -> dict[Reference, int]:
        """The ids of templates that the policy file names.  Raises Refused when one is missing, Unsent, Unanswered.

        `services` lists OneFlow's service templates; it is asked only when a role is named.
        """
        known = self._client.templates() if any(len(r) == 1 for r in references) else {}
        found: dict[Reference, int] = {(name,): number for name, number in known.items()}
        if any(len(r) == 2 for r in references):
            found |= {
                (s.name, role["name"]): _template_of(role) for s in services() for role in s.body.get("roles", ())
            }
        for reference in references:
            if found.get(reference, -1) < 0:
                raise Refused(method=f"template {' / '.join(reference)}", why="there is none of that name")
        return {r: found[r] for r in references}

    def _is_ours(self, vm: Listed, user: str) -> bool:
        return vm.owner == user and vm.labels.get(POOL_LABEL, "") in self._pools

    def _vm(self, vm: Listed) -> Vm:
        pool = vm.labels[POOL_LABEL]
        return Vm(
            id=vm.id,
            pool=pool,
            request=vm.labels.get(REQUEST_LABEL, ""),
            template=vm.labels.get(TEMPLATE_LABEL, ""),
            state=state_of(vm.state, vm.lcm),
            node=self._pattern.format(vm=vm.id, name=vm.name, pool=pool),
            host=vm.host,
            shape=Shape(cores=vm.vcpu, memory=vm.memory) if vm.memory else None,
            start=float(vm.start),
            why=vm.error,
        )


def state_of(state: int, lcm: int) -> VmState:
    """OpenNebula's two state numbers as one word of the model."""
    if state != ACTIVE:
        return _BY_STATE.get(state, "other")
    if lcm in _BOOTING:
        return "booting"
    if lcm in _STOPPING:
        return "stopping"
    return "failed" if lcm in _FAILED else "running"


def happened(error: errors.Error) -> bool | None:
    """Whether OpenNebula acted on a call that failed so: False, or None when nobody knows."""
    return None if isinstance(error, Unanswered) else False if isinstance(error, (Refused, Unsent, NotOurs)) else None


def _template_of(role: Mapping[str, Any]) -> int:
    """The VM template of a role: 7.x says template_id, 6.10 vm_template."""
    number = role.get("template_id", role.get("vm_template", -1))
    return int(number) if str(number).isdigit() else -1


def _check(pattern: str) -> None:
    fields = set(_FIELD.findall(pattern))
    if set("{}") & set(_FIELD.sub("", pattern)) or not fields <= {"vm", "name", "pool"} or not fields & {"vm", "name"}:
        raise BadNodeName(pattern=pattern, why="it must contain {vm} or {name}, and may contain {pool}")
    if not _NODE.fullmatch(pattern.format(vm=1, name="n", pool="p")):
        raise BadNodeName(pattern=pattern, why="it has characters that a host name cannot have")

"""What the scaler asks OpenNebula: VMs listed, started and ended over XML-RPC, each call within one deadline.

The transport is rpc.py's socket, not pyone's: pyone ignores its time limit, and the scaler must never hang.  A call
that failed says whether OpenNebula may have acted on it: that decides whether it may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vafnebula import errors
from vafnebula.one import rpc, template, xml
from vafnebula.one.template import Template

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ALL, MINE = -2, -3
"""Pool filters: whatever the user may use, and what belongs to him."""
NOT_DONE = -1
LEADER = 3
"""RAFT/STATE of the one server that acts; SOLO is 0."""
SOLO = 0
_DELETE = 3


class Refused(errors.RequestError):
    """OpenNebula answered, and the answer is no: it did nothing."""

    sentence = "OpenNebula refuses {method}: {why}"


class Unsent(errors.SiteError):
    """The call never reached OpenNebula: it did nothing."""

    sentence = "OpenNebula's API at {where} cannot be reached: {why}; {advice}"


class Unanswered(errors.SiteError):
    """The call was sent and no usable answer came: OpenNebula may have acted on it or not."""

    sentence = "OpenNebula's API at {where} gave no usable answer to {method}: {why}; {advice}"


@dataclass(frozen=True)
class Listed:
    """A VM as a pool listing has it.  `labels` is its user template; `memory` bytes; `cpu` in cores' worth."""

    id: int
    name: str
    owner: str
    group: str
    state: int
    lcm: int
    start: int
    host: str
    vcpu: int
    cpu: float
    memory: int
    usage: tuple[float, int]
    labels: dict[str, str]
    error: str


class Client:
    """One site, as one user.  `endpoint` and `session` are asked anew for every call, as OpenNebula's tools do."""

    def __init__(
        self,
        timeout: float = 20.0,
        endpoint: Callable[[], rpc.Endpoint] = rpc.endpoint,
        session: Callable[[], str] = rpc.credentials,
    ) -> None:
        self.timeout = timeout
        self._endpoint, self._session = endpoint, session

    def vms(self, who: int = MINE) -> list[Listed]:
        """VMs that are not DONE, with their user templates (one.vmpool.infoextended)."""
        answer = self.call("one.vmpool.infoextended", who, -1, -1, NOT_DONE, "")
        return [_listed(vm) for vm in self._parsed("one.vmpool.infoextended", answer).iterfind("VM")]

    @property
    def user(self) -> str:
        """The user as whom the calls are made.  Raises Unsent when there are no credentials."""
        try:
            return self._session().partition(":")[0]
        except rpc.Trouble as e:
            raise Unsent(where=self._endpoint(), why=e, advice=e.advice) from e

    def instantiate(self, number: int, name: str, extra: Template) -> int:
        """The id of a new VM from template `number`, with `extra` merged into it."""
        text = template.serialize(extra)
        return int(self.call("one.template.instantiate", number, name, False, text, False))

    def vm(self, number: int) -> Listed:
        return _listed(self._parsed("one.vm.info", self.call("one.vm.info", number, False)))

    def terminate(self, vm: int, hard: bool) -> None:
        self.call("one.vm.action", "terminate-hard" if hard else "terminate", vm)

    def delete(self, vm: int) -> None:
        """End a VM in the middle of prolog or boot, where terminate is refused: `onevm recover --delete`."""
        self.call("one.vm.recover", vm, _DELETE)

    def templates(self) -> dict[str, int]:
        """Names and ids of VM templates; of two with one name the older one counts."""
        pool = self._parsed("one.templatepool.info", self.call("one.templatepool.info", ALL, -1, -1))
        found = [(int(t.findtext("ID", "")), t.findtext("NAME", "")) for t in pool.iterfind("VMTEMPLATE")]
        return {name: number for number, name in sorted(found, reverse=True)}

    def cgroups(self) -> dict[str, int]:
        """The version of control groups (1 or 2) that each host reports, by host name; 0 when it does not say."""
        pool = self._parsed("one.hostpool.info", self.call("one.hostpool.info"))
        reported = ((h.findtext("NAME", ""), h.findtext("TEMPLATE/CGROUPS_VERSION", "")) for h in pool.iterfind("HOST"))
        return {name: int(version) if version in ("1", "2") else 0 for name, version in reported}

    def leads(self) -> bool:
        """Whether the front-end that answers may act: it is no part of an HA zone, or it is the leader of one."""
        status = self._parsed("one.zone.raftstatus", self.call("one.zone.raftstatus"))
        return status.findtext("STATE", "") in (str(SOLO), str(LEADER))

    def call(self, method: str, *arguments: str | int | bool) -> str:
        """The text of the answer.  Raises Refused, Unsent or Unanswered within `timeout` seconds."""
        where: object = rpc.DEFAULT
        try:
            where = self._endpoint()
            body = rpc.question(method, self._session(), *arguments)
            deadline = rpc.Deadline(self.timeout)
            connection = rpc.connect(where, deadline)
        except rpc.Trouble as e:
            raise Unsent(where=where, why=e, advice=e.advice) from e
        except OSError as e:
            raise Unsent(where=where, why=_why(e, self.timeout), advice="is oned running?") from e
        try:
            with connection:
                ok, answer = rpc.answer(rpc.exchange(connection, where, body, deadline))
        except rpc.Trouble as e:
            raise Unanswered(where=where, method=method, why=e, advice=e.advice) from e
        except OSError as e:
            why = _why(e, self.timeout)
            raise Unanswered(where=where, method=method, why=why, advice="is oned busy? see oned.log") from e
        if not ok:
            raise Refused(method=method, why=errors.one_line(answer, 150))
        return answer

    def _parsed(self, method: str, answer: str) -> Element:
        try:
            return xml.parse(answer.encode())
        except ValueError as e:
            raise Unanswered(where=self._endpoint(), method=method, why=e, advice="see oned.log") from e


def _why(error: OSError, timeout: float) -> str:
    return f"timed out after {timeout:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)


def _listed(vm: Element) -> Listed:
    history = vm.findall("HISTORY_RECORDS/HISTORY")
    last = history[-1] if history else None
    return Listed(
        id=_whole(vm.findtext("ID")),
        name=vm.findtext("NAME", ""),
        owner=vm.findtext("UNAME", ""),
        group=vm.findtext("GNAME", ""),
        state=_whole(vm.findtext("STATE")),
        lcm=_whole(vm.findtext("LCM_STATE")),
        start=_whole(vm.findtext("STIME")),
        host=last.findtext("HOSTNAME", "") if last is not None else "",
        vcpu=_whole(vm.findtext("TEMPLATE/VCPU")) or 1,
        cpu=_real(vm.findtext("TEMPLATE/CPU")),
        memory=_whole(vm.findtext("TEMPLATE/MEMORY")) * 1024 * 1024,
        usage=(_real(vm.findtext("MONITORING/CPU")), _whole(vm.findtext("MONITORING/MEMORY")) * 1024),
        labels={e.tag: e.text or "" for e in vm.iterfind("USER_TEMPLATE/*") if not len(e)},
        error=errors.one_line(vm.findtext("USER_TEMPLATE/ERROR", ""), 200),
    )


def _whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _real(text: str | None) -> float:
    try:
        return min(max(float(text or 0), 0.0), 1e6)
    except ValueError:
        return 0.0

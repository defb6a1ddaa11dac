"""OpenNebula's XML-RPC API, for heads whose workers are started by the scaler rather than by OneFlow.

The credentials are not in any context: the admin puts `user:token` of a user who may only see this cluster's VMs into
CREDENTIALS on the head, with ENDPOINT beside it.
"""

from __future__ import annotations

import xmlrpc.client
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from xml.etree import ElementTree as ET

from vafnebula import errors
from vafnebula.join.onegate import TIMEOUT, Unanswered
from vafnebula.join.settings import Settings
from vafnebula.join.vms import ACTIVE, RUNNING, Vm, well_formed

CREDENTIALS = "/etc/vafnebula/one_auth"
ENDPOINT = "/etc/vafnebula/one_endpoint"
ALL_USABLE, NOT_DONE = -2, -1


@dataclass(frozen=True)
class Api:
    """The API as the user of `session` sees it."""

    url: str
    session: str

    def vms(self, settings: Settings) -> list[Vm]:
        """The VMs that carry this cluster's name and belong to its owner.  Raises Unanswered."""
        transport = _Timed() if self.url.startswith("http:") else _TimedTls()
        server = xmlrpc.client.ServerProxy(self.url, transport=transport)
        try:
            answer = server.one.vmpool.infoextended(self.session, ALL_USABLE, -1, -1, NOT_DONE, "")
            if not (isinstance(answer, list) and len(answer) > 1 and answer[0] is True):
                said = answer[1] if isinstance(answer, list) and len(answer) > 1 else "not OpenNebula's"
                raise Unanswered(what="OpenNebula's API", why=errors.one_line(str(said), 120))
            return read(str(answer[1]).encode(), settings)
        except (OSError, HTTPException, xmlrpc.client.Error, ValueError, ET.ParseError) as e:
            raise Unanswered(what="OpenNebula's API", why=errors.one_line(str(e), 120)) from None
        finally:
            transport.close()


def load() -> Api:
    """The API that the admin's two files name.  Raises Unanswered."""
    try:
        url, session = (Path(path).read_text(encoding="ascii").strip() for path in (ENDPOINT, CREDENTIALS))
    except (OSError, ValueError) as e:
        raise Unanswered(what="OpenNebula's API", why=f"{ENDPOINT} or {CREDENTIALS} cannot be read") from e
    return Api(url, session)


def read(pool: bytes, settings: Settings) -> list[Vm]:
    """The VMs of this cluster in a VM_POOL.  Raises ValueError, ParseError."""
    if b"<!DOCTYPE" in pool:
        raise ValueError("it has a document type")  # which alone could define entities
    found = []
    for vm in ET.fromstring(pool).iterfind("VM"):  # noqa: S314
        if vm.findtext("USER_TEMPLATE/VAF_CLUSTER") != settings.cluster or vm.findtext("UNAME") != settings.owner:
            continue
        nics = [*vm.iterfind("TEMPLATE/NIC"), *vm.iterfind("TEMPLATE/NIC_ALIAS")]
        found.append(
            Vm(
                id=int(vm.findtext("ID", "")),
                role=vm.findtext("USER_TEMPLATE/VAF_ROLE", ""),
                running=(vm.findtext("STATE"), vm.findtext("LCM_STATE")) == (ACTIVE, RUNNING),
                addresses=tuple(text for text in (nic.findtext("IP", "") for nic in nics) if text),
                key=well_formed(vm.findtext("USER_TEMPLATE/VAF_PUBKEY")),
                host_key=well_formed(vm.findtext("USER_TEMPLATE/VAF_HOST_KEY")),
                address=vm.findtext("USER_TEMPLATE/VAF_ADDRESS", ""),
                vcpu=int(vm.findtext("TEMPLATE/VCPU") or 0),
            )
        )
    return found


class _Timed(xmlrpc.client.Transport):
    def make_connection(self, host: object) -> object:  # type: ignore[override]
        connection = super().make_connection(host)  # type: ignore[arg-type]
        connection.timeout = TIMEOUT
        return connection


class _TimedTls(xmlrpc.client.SafeTransport):
    def make_connection(self, host: object) -> object:  # type: ignore[override]
        connection = super().make_connection(host)  # type: ignore[arg-type]
        connection.timeout = TIMEOUT
        return connection

"""What a worker may say, and from where it says it: sshd's environment variables, read strictly."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from vafnebula import errors

LIMIT = 256
_JOIN = re.compile(r"join slots=([1-9][0-9]{0,3}) memory=([1-9][0-9]{0,7}) id=([0-9a-f]{32})")


class Refused(errors.RequestError):
    """The answer to a worker that may not join; `why` is for the audit line, and harmless to tell."""

    sentence = "not joined: {why}"

    def __init__(self, why: str) -> None:
        super().__init__(why=why)
        self.why = why


@dataclass(frozen=True)
class Join:
    """A request: processors and MiB of memory to offer, and the number that the worker gave itself at first boot."""

    slots: int
    memory: int
    id: str


def parse(text: str) -> Join:
    """Read SSH_ORIGINAL_COMMAND: `join slots=N memory=MIB id=32 hex digits`, nothing else.  Raises Refused."""
    found = _JOIN.fullmatch(text) if len(text) <= LIMIT else None
    if not found:
        raise Refused("the request is not of the form: join slots=N memory=MIB id=HEX")
    return Join(int(found[1]), int(found[2]), found[3])


def source(connection: str) -> str:
    """The client's address in SSH_CONNECTION (`client port server port`).  Raises Refused."""
    client, *rest = connection.split(" ")
    try:
        return str(ipaddress.ip_address(client if len(rest) == 3 else ""))
    except ValueError:
        raise Refused("there is no source address: this is not a connection of sshd") from None

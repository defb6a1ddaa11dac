"""sshd's AuthorizedKeysCommand: the registered keys of one account.  sshd enforces their end."""

from __future__ import annotations

import time
from collections.abc import Iterator

from vafnebula.access import settings
from vafnebula.access.registry import Registry

OPTIONS = "no-agent-forwarding,no-X11-forwarding"
"""Port forwarding stays: interactive analysis needs tunnels."""


def lines(registry: Registry, account: str, now: int) -> Iterator[str]:
    for entry in registry.entries(now, account):
        # in the system's time zone: OpenSSH before 9.1 knows no Z
        end = time.strftime("%Y%m%d%H%M%S", time.localtime(entry.expires))
        yield f'{OPTIONS},expiry-time="{end}" {entry.key}'


def answer(account: str, path: str = settings.PATH) -> str:
    """What sshd reads.  Raises Unusable, SystemRefused."""
    site = settings.load(path)
    return "".join(f"{line}\n" for line in lines(Registry(site.registry), account, int(time.time())))

"""keys: sshd's AuthorizedKeysCommand for the user `vafreg`.

One line per running worker: its key, only from its address, only for the forced command, and, until it has joined, only
for a while.  sshd enforces all of that; the forced command checks it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from vafnebula.join import audit
from vafnebula.join.batch import PROGRAM
from vafnebula.join.ledger import Ledger
from vafnebula.join.settings import Settings
from vafnebula.join.vms import Vm, fingerprint

USER = "vafreg"


def lines(settings: Settings, ledger: Ledger, vms: Iterable[Vm], now: float, program: str = PROGRAM) -> Iterator[str]:
    """What sshd shall accept."""
    for vm in vms:
        addresses = [a for a in vm.addresses if settings.inside(a)]
        if not (vm.running and vm.role == settings.role and vm.key and addresses):
            continue
        key, since = ledger.seen(vm.id, vm.key, now)
        if key != vm.key:
            audit.refused(addresses[0], "its published key is not the first one", vm=vm.id)
            continue
        member = ledger.member(f"{settings.prefix}-{vm.id}")
        options = ["restrict", f'from="{",".join(addresses)}"', f'command="{program} register {vm.id}"']
        if not (member and member.joined and member.who == fingerprint(key)):
            if now > since + settings.window:
                audit.refused(addresses[0], f"it was first seen more than {settings.window} s ago", vm=vm.id)
                continue
            # in the system's time zone: OpenSSH before 9.1 knows no Z
            options.append(time.strftime('expiry-time="%Y%m%d%H%M%S"', time.localtime(since + settings.window)))
        yield f"{','.join(options)} {key} vm-{vm.id}"

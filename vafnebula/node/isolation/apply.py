"""Programs into the kernel: first checked, then loaded, all of it or nothing."""

from __future__ import annotations

from vafnebula.node.isolation import nft, spawn
from vafnebula.node.isolation.plan import Plan
from vafnebula.node.isolation.settings import Settings
from vafnebula.node.isolation.spool import Spool

TIMEOUT = 60.0


def load(settings: Settings, plans: tuple[Plan, ...], remove: tuple[str, ...] = ()) -> None:
    """Load `plans` and remove the NICs of the taps in `remove`, in one transaction.

    The caller holds the spool's lock; with backend ebtables, alone.  Raises CommandFailed, SudoRefused, NotOurs.
    """
    if not plans and not remove:
        return
    if settings.backend == "ebtables":
        from vafnebula.node.isolation import ebtables

        ebtables.load(plans, remove)
        return
    transaction(nft.program(plans, remove))


def transaction(program: str) -> None:
    """Check and load an nft program.  Raises CommandFailed, SudoRefused; then nothing of it is loaded."""
    text = program.encode()
    spawn.run(spawn.as_root(["nft", "-c", "-f", "-"]), input=text, timeout=TIMEOUT)
    spawn.run(spawn.as_root(["nft", "-f", "-"]), input=text, timeout=TIMEOUT)


def lock(settings: Settings) -> Spool:
    """The spool, locked as `load` needs it: ebtables changes its parent chains as a whole, so it works alone."""
    return Spool(settings, alone=settings.backend == "ebtables")

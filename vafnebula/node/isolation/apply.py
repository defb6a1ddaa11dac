"""Programs into the kernel: first checked, then loaded, all of it or nothing."""

from __future__ import annotations

from vafnebula.node.isolation import nft, spawn
from vafnebula.node.isolation.plan import Plan
from vafnebula.node.isolation.settings import Settings
from vafnebula.node.isolation.spawn import Waiting
from vafnebula.node.isolation.spool import Spool

TIMEOUT = 60.0


def load(
    site: Settings, plans: tuple[Plan, ...], remove: tuple[str, ...] = (), ready: tuple[Waiting, ...] = ()
) -> None:
    """Load `plans` and remove the NICs of the taps in `remove`, in one transaction.

    `ready` is what spawn.nft_ahead started.  The caller holds the spool's lock as `lock` gives it.
    Raises CommandFailed, SudoRefused.
    """
    if not plans and not remove:
        return
    if site.backend == "ebtables":
        from vafnebula.node.isolation import ebtables

        ebtables.load(plans, remove)
    else:
        transaction(nft.program(plans, remove), ready)


def unload(site: Settings) -> None:
    """Remove everything of ours: there is nothing left to filter."""
    if site.backend == "ebtables":
        from vafnebula.node.isolation import ebtables

        ebtables.unload()
    else:
        transaction(nft.table_removal())


def unload_other(site: Settings) -> None:
    """Remove what the backend that is not configured left behind when the admin changed backends."""
    from vafnebula.node.isolation import ebtables

    if site.backend == "ebtables":
        transaction(nft.table_removal())
    elif ebtables.in_use():
        ebtables.unload()


def transaction(program: str, ready: tuple[Waiting, ...] = ()) -> None:
    """Check and load an nft program.  Raises CommandFailed, SudoRefused; then nothing of it is loaded."""
    text = program.encode()
    for waiting in ready:
        waiting.run(text, TIMEOUT)
    for argv in () if ready else spawn.NFT:
        spawn.run(spawn.as_root(argv), input=text, timeout=TIMEOUT)


def lock(site: Settings) -> Spool:
    """The spool, locked as `load` needs it: ebtables changes its parent chains as a whole, so it works alone."""
    return Spool(site, alone=site.backend == "ebtables")

"""What should be filtered on this node against what is: found out (survey), told (verify), put right (reconcile).

What should be: the NICs that `pre` remembered and whose tap exists, or that are so fresh that it may still come.
What is: the kernel's rules.  All differences are put right in one transaction; NICs that are as they should be are
not touched and keep their counters.
"""

from __future__ import annotations

import time

from vafnebula import errors, log
from vafnebula.node.isolation import apply, nft_read, plan, ports
from vafnebula.node.isolation.nft_read import Seen
from vafnebula.node.isolation.nics import Nic
from vafnebula.node.isolation.plan import Plan
from vafnebula.node.isolation.record import record
from vafnebula.node.isolation.settings import Settings
from vafnebula.node.isolation.spool import Spool


@record
class Survey:
    """Taps by what is to be done about them; `plans` are the filters that differ from the kernel's."""

    good: tuple[str, ...]
    plans: tuple[Plan, ...]
    orphans: tuple[str, ...]
    forgotten: tuple[str, ...]
    unfiltered: tuple[str, ...]
    damaged: tuple[str, ...]
    seen: Seen

    @property
    def wrong(self) -> tuple[str, ...]:
        return tuple(p.nic.tap for p in self.plans)

    def problems(self) -> list[tuple[str, str]]:
        """What is not as it should be, as (tap, sentence)."""
        return [
            *((t, "its filter is missing or differs; run `vafnebula net reconcile`") for t in self.wrong),
            *((t, "a filter without NIC; run `vafnebula net reconcile`") for t in self.orphans),
            *((t, "the tap is not filtered and no hook remembers it; see docs/isolation.md") for t in self.unfiltered),
            *((t, "filtered, but nobody remembers with what; migrate or restart the VM") for t in self.forgotten),
            *((t, "what was remembered is damaged; migrate or restart the VM") for t in self.damaged),
        ]


def survey(site: Settings, spool: Spool) -> Survey:
    """Compare.  The caller holds the spool's lock alone.  Raises CommandFailed, SudoRefused."""
    now = time.time()
    present = ports.present()
    seen = reader(site)()
    good, plans, damaged = [], [], []
    for tap in spool.taps():
        if tap not in present and spool.age(tap, now) > site.orphan_age:
            continue
        try:
            wanted = plan.make(spool.get(tap), site)
        except errors.BadArgument:
            damaged.append(tap)
            continue
        if seen.holds(wanted):
            good.append(tap)
        else:
            plans.append(wanted)
    known = {*good, *damaged, *(p.nic.tap for p in plans)}
    others = seen.taps() - known
    return Survey(
        good=tuple(good),
        plans=tuple(plans),
        orphans=tuple(sorted(others - present)),
        forgotten=tuple(sorted(others & present)),
        unfiltered=tuple(sorted(present - known - seen.taps())),
        damaged=tuple(damaged),
        seen=seen,
    )


def reconcile(site: Settings) -> Survey:
    """Put all differences right in one transaction; returns what was found.  Raises CommandFailed, SudoRefused."""
    began = time.monotonic()
    with Spool(site, alone=True) as spool:
        found = survey(site, spool)
        kept = {*found.good, *found.wrong, *found.forgotten, *found.damaged}
        apply.load(site, found.plans, found.orphans)
        if not kept:
            apply.unload(site)
        apply.unload_other(site)
        for tap in spool.taps():
            if tap not in kept:
                spool.forget(tap)
    if found.wrong or found.orphans:
        log.event(
            "net-reconcile",
            loaded=",".join(found.wrong),
            removed=",".join(found.orphans),
            good=len(found.good),
            seconds=time.monotonic() - began,
        )
    for tap, sentence in found.problems():
        if tap not in (*found.wrong, *found.orphans):
            log.trouble("net-reconcile", tap=tap, why=sentence)
    return found


def missing(nics: tuple[Nic, ...], site: Settings) -> list[Nic]:
    """Those of `nics` whose filter is not loaded as planned."""
    seen = reader(site)()
    return [nic for nic in nics if not seen.holds(plan.make(nic, site))]


def reader(site: Settings):  # type: ignore[no-untyped-def]
    """The backend's read()."""
    if site.backend == "ebtables":
        from vafnebula.node.isolation import ebtables_read

        return ebtables_read.read
    return nft_read.read

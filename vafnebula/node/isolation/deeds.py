"""What pre, post and clean do with the NICs that a call is about.  hook.py is around it."""

from __future__ import annotations

from vafnebula import errors
from vafnebula.node.isolation import apply, mac, nics, plan, vmxml
from vafnebula.node.isolation.mac import Prefix
from vafnebula.node.isolation.nics import Selection
from vafnebula.node.isolation.settings import Settings
from vafnebula.node.isolation.spawn import Waiting


def do(verb: str, data: bytes, driver: str, site: Settings, ready: tuple[Waiting, ...]) -> tuple[Selection, list[str]]:
    """Do `verb` for the VM in `data`; returns what it was about and notes for the admin.  Raises errors.Error.

    `ready` is the pair of nft that waits for pre's program, or empty.
    """
    selection = nics.select(vmxml.parse(data), site, driver=driver, allowed=read_allowed(site), clean=verb == "clean")
    if verb == "pre":
        pre(selection, site, ready)
        return selection, list(selection.notes)
    notes = post(selection, site) if verb == "post" else clean(selection, site)
    return selection, [*selection.notes, *notes]


def pre(selection: Selection, site: Settings, ready: tuple[Waiting, ...] = ()) -> None:
    """Load the filters of the selected NICs, then remember them."""
    if not selection.nics:
        return
    with apply.lock(site) as spool:
        apply.load(site, tuple(plan.make(nic, site) for nic in selection.nics), ready=ready)
        for nic in selection.nics:
            spool.put(nic)


def post(selection: Selection, site: Settings) -> list[str]:
    """Check the taps and what filters them; load again what was flushed meanwhile; set port flags."""
    from vafnebula.node.isolation import ports, reconcile  # pre does without

    if not selection.nics:
        return []
    notes = []
    for nic in selection.nics:
        ports.check(nic, site.tap_wait)
    missing = reconcile.missing(selection.nics, site)
    if missing:
        notes = [f"the filter of {nic.tap} had vanished since pre and was loaded again" for nic in missing]
        pre(selection, site)
        for nic in reconcile.missing(selection.nics, site):
            raise errors.NotFound(what=f"the filter of {nic.tap}", advice="see who flushes the node's nftables")
    if site.port_flags and site.mode == "enforce":
        for nic in selection.nics:
            notes += ports.protect(nic)
    return notes


def clean(selection: Selection, site: Settings) -> list[str]:
    """Remove the filters of the selected taps; a NIC that only loses an alias gets its filter anew."""
    if not selection.nics and not selection.taps:
        return []
    with apply.lock(site) as spool:
        apply.load(site, tuple(plan.make(nic, site) for nic in selection.nics), selection.taps)
        for nic in selection.nics:
            spool.put(nic)
        for tap in selection.taps:
            spool.forget(tap)
    return []


def read_allowed(site: Settings) -> tuple[Prefix, ...] | None:
    """The node's file of MAC prefixes that VAF_* may name; None when there is none.  Raises BadConfig."""
    try:
        with open(site.allowed_macs, encoding="ascii") as f:
            lines = [line.partition("#")[0] for line in f]
        return mac.parse_prefixes("entry", " ".join(lines), 1, 1_000_000)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, errors.BadArgument) as e:
        raise errors.BadConfig(path=site.allowed_macs, why=str(e)) from e

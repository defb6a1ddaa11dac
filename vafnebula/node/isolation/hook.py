"""pre, post and clean: what OpenNebula's network drivers run on the node, with the VM on stdin.

    pre     before the tap exists: load the filter of every NIC of the VM; failing stops the VM from starting
    post    the tap is there: is it the right one, on the right bridge, filtered?  Then set port flags
    clean   after the VM left: remove exactly its filters; gone already is success, and a failure never blocks

On failure exactly one line goes to stderr; notes for the admin go to stdout, which OpenNebula puts into the VM's log.
"""

from __future__ import annotations

import os
import sys
import time

from vafnebula import errors, log
from vafnebula.node.isolation import apply, mac, nics, plan, ports, settings, spawn, vmxml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vafnebula.node.isolation.mac import Prefix
    from vafnebula.node.isolation.nics import Selection
    from vafnebula.node.isolation.settings import Settings

SITE_FILE = "etc/vafnebula/vafnebula.conf"


def main(argv: list[str]) -> int:
    """`VERB STUB ...`: STUB is the hook's own path, <SCRIPTS_REMOTE_DIR>/vnm/<driver>/<verb>.d/<name>.  Returns the
    exit code; OpenNebula's own arguments (deploy id, host) say nothing that stdin does not."""
    began = time.monotonic()
    verb, stub = argv[:2]
    root, _vnm, driver, _directory, _name = os.path.abspath(stub).rsplit("/", 4)
    spawn.with_sbin()
    try:
        site = settings.load(f"{root}/{SITE_FILE}")
        data = sys.stdin.buffer.read(vmxml.MAX_BYTES + 1)
        allowed = read_allowed(site)
        selection = nics.select(vmxml.parse(data), site, driver=driver, allowed=allowed, clean=verb == "clean")
        notes = [*selection.notes, *VERBS[verb](selection, site)]
    except Exception as e:  # noqa: BLE001  the outermost frame: whatever it is, one line and a code
        error = e if isinstance(e, errors.Error) else errors.Bug(why=f"{type(e).__name__}: {e}")
        line = errors.one_line(f"isolation {verb} failed: {error}")
        log.trouble("net", verb=verb, driver=driver, why=line)
        print(line, file=sys.stderr)  # noqa: T201
        return 0 if verb == "clean" else 1
    for note in notes:
        log.trouble("net", verb=verb, vm=selection.vm, note=note)
        print(errors.one_line(note))  # noqa: T201
    taps = [*(nic.tap for nic in selection.nics), *selection.taps]
    if taps:
        seconds = time.monotonic() - began
        log.event("net", verb=verb, vm=selection.vm, taps=",".join(taps), mode=site.mode, seconds=seconds)
    return 0


def pre(selection: Selection, site: Settings) -> list[str]:
    """Load the filters of the selected NICs, then remember them."""
    if not selection.nics:
        return []
    with apply.lock(site) as spool:
        apply.load(site, tuple(plan.make(nic, site) for nic in selection.nics))
        for nic in selection.nics:
            spool.put(nic)
    return []


def post(selection: Selection, site: Settings) -> list[str]:
    """Check the taps and what filters them; load again what was flushed meanwhile; set port flags."""
    from vafnebula.node.isolation import reconcile

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


VERBS = {"pre": pre, "post": post, "clean": clean}


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


def exit_with(code: int) -> None:
    """End the process: nothing is left to clean up, and taking the interpreter apart takes 2 ms."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

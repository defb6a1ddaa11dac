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
from vafnebula.node.isolation import settings, spawn

SITE_FILE = "etc/vafnebula/vafnebula.conf"


def main(argv: list[str]) -> int:
    """`VERB STUB ...`: STUB is the hook's own path, <SCRIPTS_REMOTE_DIR>/vnm/<driver>/<verb>.d/<name>.  Returns the
    exit code; OpenNebula's own arguments (deploy id, host) say nothing that stdin does not."""
    began = time.monotonic()
    verb, stub = argv[:2]
    root, _vnm, driver, _directory, _name = os.path.abspath(stub).rsplit("/", 4)
    spawn.with_sbin()
    ready: tuple[spawn.Waiting, ...] = ()
    try:
        site = settings.load(f"{root}/{SITE_FILE}")
        if verb == "pre" and site.backend == "nft":
            ready = spawn.nft_ahead()
        from vafnebula.node.isolation import deeds, vmxml  # while nft loads its libraries

        data = sys.stdin.buffer.read(vmxml.MAX_BYTES + 1)
        selection, notes = deeds.do(verb, data, driver, site, ready)
    except Exception as e:  # noqa: BLE001  the outermost frame: whatever it is, one line and a code
        error = e if isinstance(e, errors.Error) else errors.Bug(why=f"{type(e).__name__}: {e}")
        line = errors.one_line(f"isolation {verb} failed: {error}")
        log.trouble("net", verb=verb, driver=driver, why=line)
        print(line, file=sys.stderr)  # noqa: T201
        return 0 if verb == "clean" else 1
    finally:
        spawn.abandon(ready)
    for note in notes:
        log.trouble("net", verb=verb, vm=selection.vm, note=note)
        print(errors.one_line(note))  # noqa: T201
    taps = [*(nic.tap for nic in selection.nics), *selection.taps]
    if taps:
        seconds = time.monotonic() - began
        log.event("net", verb=verb, vm=selection.vm, taps=",".join(taps), mode=site.mode, seconds=seconds)
    return 0


def exit_with(code: int) -> None:
    """End the process: nothing is left to clean up, and taking the interpreter apart takes 2 ms."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

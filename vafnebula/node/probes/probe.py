"""Running a probe: everything is known before the first byte is printed, and what goes wrong is syslog's."""

from __future__ import annotations

import sys
from importlib import import_module

from vafnebula import config, errors, log
from vafnebula.node.host import Host

PROBES = ("capacity", "disks")


def main(name: str, remotes: str) -> None:
    """Print what probe `name` has to say; `remotes` holds etc/.  Nothing when it cannot be known."""
    try:
        text = said(name, remotes, Host())
    except (errors.Error, OSError, ValueError, KeyError) as e:
        log.trouble("probe", probe=name, error=type(e).__name__, why=e)
        return
    sys.stdout.write(text)
    sys.stdout.flush()


def said(name: str, remotes: str, host: Host) -> str:
    """What the probe says.  Raises errors.Error."""
    if name not in PROBES:
        raise errors.BadArgument(what="probe", value=name, why=f"must be one of {', '.join(PROBES)}")
    site = config.load(f"{remotes}/etc/vafnebula/vafnebula.conf")
    text: str = getattr(import_module(f"vafnebula.node.probes.{name}"), name)(host, site)
    return text

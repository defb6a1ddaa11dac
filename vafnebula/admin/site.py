"""What is known before a node is asked: the site file, OpenNebula's pools, and which hosts are meant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vafnebula import config, errors
from vafnebula.one import api, pools

ROOT = "/var/lib/one/datastores"


class NoHosts(errors.SiteError):
    sentence = "OpenNebula has no host that could be asked: {why}; name one with --host"


def remotes() -> str:
    """The front-end's remotes/: of ONE_LOCATION in a self-contained installation."""
    location = os.environ.get("ONE_LOCATION", "")
    return f"{location}/var/remotes" if location else "/var/lib/one/remotes"


@dataclass
class Known:
    """Asked lazily, so that with --host no API is needed where none is."""

    config: config.Site
    api: api.Api
    asked: tuple[str, ...] = field(default=())

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """Names of the nodes to ask: those given, or OpenNebula's hosts but the offline ones.  Raises NoHosts, Away."""
        if self.asked:
            return self.asked
        found = [h.name for h in self.api.hosts() if h.state != pools.OFFLINE]
        if not found:
            raise NoHosts(why="its pool is empty, or all are offline")
        return tuple(found)

    @cached_property
    def datastores(self) -> list[pools.Datastore]:
        return self.api.datastores()

    @property
    def systems(self) -> list[pools.Datastore]:
        """Our system datastores."""
        return [d for d in self.datastores if d.ours and d.kind == "system"]

    @cached_property
    def root(self) -> str:
        """The directory above the datastores; OpenNebula's default when it does not answer."""
        try:
            return next((d.root for d in self.systems if d.root), ROOT)
        except api.Away:
            return ROOT


def known(hosts: Sequence[str]) -> Known:
    """The site as this machine and `hosts` (--host) say.  Raises BadConfig, Away."""
    for host in hosts:
        if not host or host.startswith("-") or any(c.isspace() for c in host):
            raise errors.BadArgument(what="host", value=host, why="not a host name")
    return Known(config.load(f"{remotes()}/etc/vafnebula/vafnebula.conf"), api.connect(), tuple(hosts))

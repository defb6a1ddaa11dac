"""postbackup_live: the same for a running VM."""

from __future__ import annotations

from vafnebula.tm.postbackup import request

__all__ = ["request"]

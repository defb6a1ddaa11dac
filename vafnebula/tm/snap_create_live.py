"""snap_create_live: a disk snapshot of a running VM: the same on the node."""

from __future__ import annotations

from vafnebula.tm.snap_create import request

__all__ = ["request"]

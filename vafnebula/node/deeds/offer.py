"""offer: what there is of a disk, for the node that will fetch it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict

from vafnebula.model import DiskRef, Settings
from vafnebula.model_moves import Offer
from vafnebula.node import disks, parts
from vafnebula.node.host import Host


def offer(host: Host, request: Offer, settings: Settings) -> dict[str, object]:
    """Facts: `parts`, parents first.  Raises NotFound, NotOurs, BrokenSnapshot, CopyFailed (never finished), Busy."""
    disks.require_place(request.directory, request.sds, request.vm)
    ref = DiskRef(request.vm, max(request.disk, 0), 0, request.sds, request.directory)
    with nullcontext() if request.held or request.disk < 0 else disks.locked(settings, ref, "offer"):
        return {"parts": [asdict(p) for p in parts.of_disk(host, ref.vg, request.vm, request.disk)]}

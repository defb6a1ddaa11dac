"""mkswap: an empty disk with a swap signature."""

from __future__ import annotations

from collections.abc import Sequence

from vafnebula.model import MakeSwap, Settings
from vafnebula.node import disks, lvm, snapshots
from vafnebula.node.host import Host


def mkswap(host: Host, request: MakeSwap, settings: Settings) -> dict[str, object]:
    """Make the disk.  Raises NoRoom, Busy, NotOurs, CommandFailed."""
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)

    def build(tags: Sequence[str]) -> None:
        snapshots.of_zeros(host, settings, ref, lvm.in_extents(request.size), tags)
        host.format(["mkswap", "-L", request.label, ref.device])

    with disks.locked(settings, ref, "mkswap"):
        made_from = disks.recipe("mkswap", request.size, request.label)
        made = disks.make(host, ref, made_from, request.size, build)
    return {"result": "made" if made else "there"}

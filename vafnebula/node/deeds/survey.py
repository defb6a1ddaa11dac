"""survey: what there is on a node, for `vafnebula volumes`, `cache list`, `fsck` and `explain`."""

from __future__ import annotations

import os
import time
from dataclasses import asdict

from vafnebula import errors, names
from vafnebula.model import Settings
from vafnebula.model_admin import Survey
from vafnebula.node import lock, lvm, room
from vafnebula.node.host import Host


def survey(host: Host, request: Survey, settings: Settings) -> dict[str, object]:
    """Facts: `now` (epoch seconds); `groups`: VG -> size, free (bytes), volumes; `links`: "SDS/VM/N" -> target.

    A volume is lvm.Volume as a dictionary, tags sorted, with `used`, epoch seconds of an origin's last use, and `busy`,
    whether an action fills it just now.  The target is "" for something that is not a link.
    One command per VG.  Raises SudoRefused.
    """
    groups, links = {}, {}
    for vg, (size, free) in sorted(lvm.groups(host).items()):
        volumes = [_volume(vg, v, settings) for v in lvm.group(host, vg).volumes]
        groups[vg] = {"size": size, "free": free, "volumes": volumes}
        links.update(_links(request.root, names.sds_of(vg)))
    return {"now": time.time(), "groups": groups, "links": links}


def _volume(vg: str, volume: lvm.Volume, settings: Settings) -> dict[str, object]:
    used, busy = volume.created, False
    name = room.origin_lock(vg, room.key_of(volume.name))
    if volume.name.startswith(names.ORIGIN_PREFIX):
        used = max(used, int(lock.last_used(settings.lock_dir, name)))
    if volume.name.startswith(names.FILL_PREFIX):
        try:
            with lock.hold(settings.lock_dir, name, "", wait=0, shared=True):
                pass
        except errors.Busy:
            busy = True
    return {**asdict(volume), "tags": sorted(volume.tags), "used": used, "busy": busy}


def _links(root: str, sds: int) -> dict[str, str]:
    top, found = f"{root}/{sds}", {}
    for vm in sorted(os.listdir(top)) if os.path.isdir(top) else []:
        directory = f"{top}/{vm}"
        for name in os.listdir(directory) if vm.isdigit() and os.path.isdir(directory) else []:
            number = name[5:]
            if name.startswith("disk.") and number.isdigit():
                path = f"{directory}/{name}"
                found[f"{sds}/{vm}/{number}"] = os.readlink(path) if os.path.islink(path) else ""
    return found

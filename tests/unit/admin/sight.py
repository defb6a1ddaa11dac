"""Nodes and VMs for the tests of an admin's commands, made of a few words."""

from __future__ import annotations

from typing import Any

from vafnebula import names
from vafnebula.admin import views
from vafnebula.admin.views import View, Volume
from vafnebula.one import pools

ROOT = "/var/lib/one/datastores"
KEY = "0123456789abcdef0123"


def volume(name: str, *tags: str, **more: Any) -> dict[str, Any]:
    """A volume as a node tells of it."""
    return {
        "name": name, "size": 4 << 20, "tags": sorted(tags), "origin": "", "kind": "thin", "attr": "Vwi-a-tz--",
        "data_percent": 12.5, "created": 1_700_000_000, "used": 1_700_000_000, "busy": False, **more,
    }  # fmt: skip


def disk(vm: int, number: int = 0, *tags: str, **more: Any) -> dict[str, Any]:
    """A disk of ours."""
    own = (names.OURS, f"vaf.vm={vm}", f"vaf.disk={number}", "vaf.seq=0", *tags)
    return volume(f"lv-one-{vm}-{number}", *own, **more)


def origin(*tags: str, key: str = KEY, **more: Any) -> dict[str, Any]:
    own = (names.OURS, names.COMPLETE, "vaf.image=1/img", "vaf.print=1.2.3", *tags)
    return volume(f"{names.ORIGIN_PREFIX}{key}", *own, **more)


def view(*volumes: dict[str, Any], host: str = "n1", sds: int = 100, links: dict[str, str] | None = None) -> View:
    """A node with one VG; by default every disk has its link."""
    if links is None:
        links = {
            f"{sds}/{v['name'].split('-')[2]}/{v['name'].split('-')[3]}": f"/dev/vg-one-{sds}/{v['name']}"
            for v in volumes
            if v["name"].startswith("lv-one-")
        }
    groups = {f"vg-one-{sds}": {"size": 1 << 30, "free": 1 << 29, "volumes": list(volumes)}}
    return views.of_facts(host, {"now": 0, "groups": groups, "links": links})


def vm(
    number: int, *disks: int, host: str = "n1", sds: int = 100, state: int = 3, lcm: int = 3, seq: int = 0
) -> pools.Vm:
    """A VM, running by default, with disk 0 by default."""
    kept = {d: {"DISK_ID": str(d), "TM_MAD": "fs_lvm_snap"} for d in disks or (0,)}
    return pools.Vm(number, f"vm-{number}", state, lcm, host, sds, seq, kept)


def first(seen: View) -> Volume:
    return next(iter(seen.groups.values())).volumes[0]

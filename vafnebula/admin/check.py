"""Is the installation fit?  Facts of front-end and nodes in, findings out; every finding says what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vafnebula import __version__, names, units
from vafnebula.admin import ask, site
from vafnebula.admin.cache import path
from vafnebula.config import Site
from vafnebula.model_admin import Inspect
from vafnebula.one import pools

OK, WARNING, PROBLEM = "ok", "warning", "problem"
SKEW = 2.0  # seconds by which clocks may differ, besides the time that asking took
WATCH = 80  # percent of a thin pool at which somebody should look
RULES = "install.sh node"
SINCE_7 = "PERSISTENT_SNAPSHOTS"  # 6.10 does not copy it from TM_MAD_CONF


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.  `advice` is what to do, '' when nothing is."""

    level: str
    where: str
    what: str
    advice: str = ""


def check(known: site.Known) -> list[Finding]:
    """Look at everything.  Raises Away and NoHosts only when nothing at all can be asked."""
    found = [*front_end(site.remotes())]
    found += datastores(known.datastores)
    samples = _samples(known)
    found += mounted(samples)
    found += monitored([h for h in known.api.hosts() if h.name in known.hosts], [d.id for d in known.systems])
    before = time.time()
    answers = ask.everyone([(host, Inspect(sorted(samples))) for host in known.hosts], known.config)
    took = time.time() - before
    for answer in answers:
        if answer.error is not None:
            found.append(Finding(PROBLEM, answer.host, str(answer.error)))
        else:
            found += node(answer.host, answer.facts, known.config, [d.id for d in known.systems], samples, before, took)
    return found


def _samples(known: site.Known) -> dict[str, int]:
    """An image file of each of our image datastores where a node sees it, and its size here (-1: not here)."""
    ours = {d.id for d in known.datastores if d.ours and d.kind == "image"}
    found: dict[str, int] = {}
    for image in known.api.images():
        if image.datastore in ours and image.state in pools.READY and image.source:
            ours.discard(image.datastore)
            here = Path(image.source)
            found[path(image, known.root)] = here.stat().st_size if here.is_file() else -1
    return found


def front_end(remotes: str) -> Iterator[Finding]:
    """Drivers and versions on this machine."""
    yield Finding(OK, "front-end", f"site file is understood, version {__version__}")
    try:
        text = Path(f"{remotes}/vafnebula/vafnebula/__init__.py").read_text(encoding="utf-8")
    except OSError as e:
        yield Finding(
            PROBLEM, "front-end", f"drivers are missing in {remotes}: {e.strerror}", "run install.sh frontend"
        )
        return
    same = f'__version__ = "{__version__}"' in text
    what = f"drivers in {remotes} are of {'this' if same else 'another'} version"
    yield Finding(OK, "front-end", what) if same else Finding(PROBLEM, "front-end", what, "run install.sh frontend")


def datastores(found: Sequence[pools.Datastore]) -> Iterator[Finding]:
    """Our datastores, with the attributes that OpenNebula copied from TM_MAD_CONF when they were made."""
    ours = [d for d in found if d.ours]
    for kind in ("image", "system"):
        if not any(d.kind == kind for d in ours):
            advice = "create one; its template is printed by install.sh oned"
            yield Finding(PROBLEM, "OpenNebula", f"no {kind} datastore has TM_MAD = {pools.DRIVER}", advice)
    wanted = {
        "system": {"SHARED": "NO", "DISK_TYPE": "BLOCK", SINCE_7: "NO"},
        "image": {
            "DRIVER": "raw",
            "DISK_TYPE": "BLOCK",
            "CLONE_TARGET": "SYSTEM",
            "LN_TARGET": "SYSTEM",
            SINCE_7: "NO",
        },
    }
    for datastore in ours:
        where = f"datastore {datastore.id}"
        wrong = {
            k: v
            for k, v in wanted.get(datastore.kind, {}).items()
            if datastore.attributes.get(k, v if k == SINCE_7 else "").upper() != v.upper()
        }
        for key, value in wrong.items():
            what = f"{key} is {datastore.attributes.get(key, '') or 'not set'}, not {value}"
            advice = (
                f'correct TM_MAD_CONF (install.sh oned), then onedatastore update {datastore.id}: {key} = "{value}"'
            )
            yield Finding(PROBLEM, where, what, advice)
        if not wrong:
            yield Finding(OK, where, f"{datastore.kind} datastore {datastore.name} has the right attributes")


def mounted(samples: Mapping[str, int]) -> Iterator[Finding]:
    """Image files as the front-end sees them."""
    for where, size in samples.items():
        if size < 0:
            advice = "mount the image datastore here, or its registered images cannot be found"
            yield Finding(WARNING, "front-end", f"image {where} is not there", advice)


def monitored(hosts: Sequence[pools.Host], systems: Sequence[int]) -> Iterator[Finding]:
    """Whether the probe's word has come to OpenNebula; without it the scheduler goes by the root file system's room."""
    for host in hosts:
        for sds in systems:
            if sds in host.room:
                yield Finding(OK, host.name, f"OpenNebula knows {units.human(host.room[sds])} free in datastore {sds}")
            else:
                what = f"OpenNebula knows no room in datastore {sds} there"
                advice = "onehost sync -f puts the probe there; it reports every 10 minutes"
                yield Finding(WARNING, host.name, what, advice)


def node(
    host: str,
    facts: Mapping[str, Any],
    config: Site,
    systems: Sequence[int],
    samples: Mapping[str, int],
    before: float,
    took: float,
) -> list[Finding]:
    """Judge what a node said (node/deeds/inspect.py), asked at `before` (epoch seconds) and answered within `took`."""
    found = [Finding(OK, host, f"node package {__version__}, Python {facts['python']}")]
    found += _programs(host, facts)
    found += _clock(host, facts["now"], before, took)
    found += _lvm_conf(host, facts["lvm_conf"], any(config.storage(s).mode == "thin" for s in systems))
    for sds in systems:
        found += _storage(host, sds, facts["pools"], config)
    for where, size in samples.items():
        seen = facts["images"].get(where)
        if isinstance(seen, int) and size in (-1, seen):
            found.append(Finding(OK, host, f"image {where} is seen"))
        else:
            what = f"image {where}: {seen}" if not isinstance(seen, int) else f"image {where} has another size here"
            found.append(Finding(PROBLEM, host, what, "mount the image datastore on the node, at the same path"))
    return found


def _programs(host: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    refused = [name for name, allowed in facts["sudo"].items() if not allowed]
    if refused:
        yield Finding(PROBLEM, host, f"sudo refuses {', '.join(refused)} to oneadmin", f"run {RULES} there")
    else:
        yield Finding(OK, host, "sudo rules")
    missing = [name for name, there in facts["tools"].items() if not there]
    if missing:
        package = "thin-provisioning-tools (EL: device-mapper-persistent-data) and more"
        yield Finding(PROBLEM, host, f"programs are missing: {', '.join(missing)}", f"install {package}: run {RULES}")
    if not facts["group_disk"]:
        advice = "usermod -aG disk oneadmin, then end its shared ssh connections"
        yield Finding(PROBLEM, host, "oneadmin is not in group disk, so it cannot write volumes", advice)
    if not facts["lock_dir"]:
        advice = "install opennebula-node-kvm, whose tmpfiles.d makes /var/lock/one, or set lock_dir"
        yield Finding(PROBLEM, host, "the directory for locks is not there, or oneadmin may not write to it", advice)


def _clock(host: str, now: float, before: float, took: float) -> Iterator[Finding]:
    off = max(before - now, now - (before + took))
    if off > SKEW:
        yield Finding(WARNING, host, f"its clock is off by {off:.0f} s", "let NTP or chrony keep it")
    else:
        yield Finding(OK, host, "clock")


def _lvm_conf(host: str, conf: Mapping[str, str], thin: bool) -> Iterator[Finding]:
    if not conf:
        yield Finding(WARNING, host, "lvmconfig gave no settings", "look at /etc/lvm/lvm.conf yourself")
        return
    if conf.get("scan_lvs") == "1":
        advice = "set devices/scan_lvs = 0 in lvm.conf: a guest could bring a volume group of its own"
        yield Finding(PROBLEM, host, "LVM looks for volume groups inside volumes", advice)
    if not thin:
        return
    if conf.get("thin_check_executable") == "":
        advice = "take the empty global/thin_check_executable out of lvm.conf"
        yield Finding(WARNING, host, "LVM does not check thin pools before it activates them", advice)
    if conf.get("thin_pool_autoextend_threshold") == "100":
        advice = "set activation/thin_pool_autoextend_threshold = 80 in lvm.conf, if the volume group has room to give"
        yield Finding(WARNING, host, "LVM does not extend thin pools that fill up", advice)
    elif conf.get("monitoring") == "0":
        advice = "set activation/monitoring = 1 in lvm.conf, and start lvm2-monitor"
        yield Finding(WARNING, host, "LVM shall extend thin pools, but does not monitor them", advice)


def _storage(host: str, sds: int, groups: Mapping[str, Mapping[str, str]], config: Site) -> Iterator[Finding]:
    vg, settings = names.vg(sds), config.storage(sds)
    if vg not in groups:
        advice = f"{RULES} --sds {sds} --device ..., or keep this host out of the datastore's clusters"
        yield Finding(PROBLEM, host, f"no volume group {vg}", advice)
        return
    pool = groups[vg]
    if settings.mode == "thick":
        yield Finding(OK, host, f"{vg}, mode thick")
        return
    if not pool:
        advice = f"{RULES} --sds {sds} --device ... makes it, or set mode = thick in [storage {sds}]"
        yield Finding(PROBLEM, host, f"{vg} has no thin pool {names.THIN_POOL}", advice)
        return
    if pool["zero"] != "zero":
        advice = f"lvchange -Zy {vg}/{names.THIN_POOL}"
        yield Finding(PROBLEM, host, f"{vg}: the thin pool does not zero new chunks", advice)
    if pool.get("lv_when_full") == "queue":
        advice = f"lvchange --errorwhenfull y {vg}/{names.THIN_POOL}"
        yield Finding(WARNING, host, f"{vg}: a full thin pool would make VMs hang instead of failing", advice)
    for what, limit in (("data", settings.pool_limit), ("metadata", settings.metadata_limit)):
        used = float(pool[f"{what}_percent"] or 0)
        if used >= WATCH:
            level = PROBLEM if used >= limit else WARNING
            advice = "evict images, remove VMs, or extend it (docs/operations.md)"
            yield Finding(level, host, f"{vg}: {what} of the thin pool is {used:g} % full", advice)
    yield Finding(OK, host, f"{vg}, thin pool {float(pool['data_percent'] or 0):g} % full")


def worst(found: Sequence[Finding]) -> str:
    levels = [f.level for f in found]
    return next((level for level in (PROBLEM, WARNING) if level in levels), OK)

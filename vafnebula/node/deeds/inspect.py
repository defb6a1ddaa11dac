"""inspect: whether a node is fit for its work; the front-end judges (vafnebula/admin/check.py)."""

from __future__ import annotations

import grp
import os
import shutil
import sys
import time

from vafnebula import errors, process
from vafnebula.model import Settings
from vafnebula.model_admin import Inspect
from vafnebula.node import lvm
from vafnebula.node.host import ENVIRONMENT, Host

SUDO: dict[str, tuple[str, ...]] = {  # share/sudoers/vafnebula: programs, with their arguments where the rule has some
    **dict.fromkeys(("lvs", "vgs", "lvcreate", "lvremove", "lvchange", "lvextend", "lvrename", "mkfs.xfs"), ()),
    "dmsetup": ("message", "vg--one--0-vaf--thinpool-tpool", "0", "release_metadata_snap"),
}
TOOLS = ("dd", "cmp", "qemu-img", "mkswap", "mkfs.xfs", "mkfs.ext4", "thin_check", "thin_delta")
LVM_CONF = (
    "devices/scan_lvs", "devices/issue_discards", "global/thin_check_executable", "activation/monitoring",
    "activation/thin_pool_autoextend_threshold", "activation/thin_pool_autoextend_percent",
)  # fmt: skip


def inspect(host: Host, request: Inspect, settings: Settings) -> dict[str, object]:
    """Facts: now, python, sudo and tools (name -> bool), group_disk, lock_dir (bool), lvm_conf (key -> value),
    pools (VG -> what LVM says of its thin pool, {} without one), images (path -> size in bytes, or why not)."""
    facts: dict[str, object] = {
        "now": time.time(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "sudo": {name: _allowed(host, name, *words) for name, words in SUDO.items()},
        "tools": {name: shutil.which(name, path=ENVIRONMENT["PATH"]) is not None for name in TOOLS},
        "group_disk": _in_group_disk(),
        "lock_dir": os.access(settings.lock_dir, os.W_OK | os.X_OK),
        "lvm_conf": _lvm_conf(host),
        "images": {path: _size(path) for path in request.images},
    }
    pools: dict[str, object] = {}
    try:
        for vg in sorted(lvm.groups(host)):
            pools[vg] = lvm.pool(host, vg)
    except errors.SudoRefused:
        pools = {}
    return {**facts, "pools": pools}


def _allowed(host: Host, *command: str) -> bool:
    try:
        return host.query(["sudo", "-n", "-l", *command]).code == 0
    except errors.CommandFailed:  # there is no sudo
        return False


def _in_group_disk() -> bool:
    try:
        return grp.getgrnam("disk").gr_gid in os.getgroups() or os.geteuid() == 0
    except KeyError:
        return False


def _lvm_conf(host: Host) -> dict[str, str]:
    try:
        done: process.Completed = host.query(["lvmconfig", "--typeconfig", "full", *LVM_CONF])
    except errors.CommandFailed:
        return {}
    pairs = (line.partition("=") for line in done.out.decode(errors="replace").splitlines())
    return {key.strip(): value.strip().strip('"') for key, _, value in pairs}


def _size(path: str) -> object:
    try:
        with open(path, "rb") as f:
            return os.fstat(f.fileno()).st_size
    except OSError as e:
        return e.strerror

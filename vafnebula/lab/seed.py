"""The files that make a copy of the host's root into a node: rendered once per node, seen through the overlay."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vafnebula import process
from vafnebula.lab import accounts, identity, lvmconf, qemu, rootfs, uml
from vafnebula.lab.spec import GID, UID, Spec

SSHD = """\
Port 22
HostKey /etc/ssh/lab_host_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/lab_authorized_keys
# only the key exchange that a small machine computes fast
KexAlgorithms curve25519-sha256
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
GSSAPIAuthentication no
UseDNS no
X11Forwarding no
PrintMotd no
PrintLastLog no
StrictModes no
MaxStartups 100:30:200
MaxSessions 100
PidFile none
Subsystem sftp internal-sftp
AcceptEnv LANG LC_*
"""
# The files of the seed know everybody; whatever else the host asks would not answer here, and every sudo would load it.
NSSWITCH = "".join(f"{what}: files\n" for what in ("passwd", "group", "shadow", "hosts"))
MODULES = ("dm-mod", "dm-snapshot", "dm-thin-pool", "tun", "fuse")
FAULT_MODULES = ("dm-flakey", "dm-delay")


def make(spec: Spec, home: Path, node: str, keys: identity.Keys, tree: Path) -> None:
    """Write `home`/NODE: seed, data disks (sparse) and the disk with /var/lib/one.

    `tree` is the checkout whose sudoers drop-in the node gets.
    """
    own = home / node
    own.mkdir()
    for path, (text, mode) in _files(spec, node, keys, tree).items():
        file = own / "seed" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
    for path in ("var/lib/one", "var/tmp", "etc/lvm/devices"):
        (own / "seed" / path).mkdir(parents=True, exist_ok=True)
    shutil.copy(home / "guest/init", own / "seed/usr/sbin/lab-init")
    if spec.backend == "uml":
        modules = own / "seed/usr/lib/modules"
        modules.mkdir(parents=True)
        (modules / uml.kernel_version()).symlink_to(uml.MODULES / uml.kernel_version())
    else:
        qemu.initrd(own, home / "guest", qemu.cache())
    for image in spec.data_disks.values():
        _sparse(own / image, spec.disk)
    _home_disk(spec, own, keys)


def _files(spec: Spec, node: str, keys: identity.Keys, tree: Path) -> dict[str, tuple[str, int]]:
    """Path in the node -> (content, mode)."""
    disks = dict(zip(spec.sds, _devices(spec)[1:]))
    return {
        "etc/lab-node": (_node(spec, node, disks), 0o644),
        "etc/hostname": (f"{node}\n", 0o644),
        "etc/hosts": (spec.hosts, 0o644),
        "etc/passwd": (accounts.passwd(), 0o644),
        "etc/group": (accounts.group("disk"), 0o644),
        "etc/shadow": (accounts.shadow(), 0o600),
        "etc/nsswitch.conf": (NSSWITCH, 0o644),
        "etc/ssh/sshd_config": (SSHD, 0o644),
        "etc/ssh/lab_host_key": (keys.host_private, 0o600),
        "etc/ssh/lab_authorized_keys": (keys.public, 0o644),
        "etc/sudoers.d/vafnebula": ((tree / "share/sudoers/vafnebula").read_text(), 0o440),
        "etc/lvm/lvm.conf": (lvmconf.render(list(disks.values()), udev=spec.udev, faults=spec.faults), 0o644),
        "etc/lvm/lvmlocal.conf": ("", 0o644),
        "usr/sbin/lab-init": ("", 0o755),
    }


def _devices(spec: Spec) -> list[str]:
    """Block devices of a node: the one with /var/lib/one, then one per system datastore."""
    return [f"/dev/{'ubd' if spec.backend == 'uml' else 'vd'}{letter}" for letter in "abcde"[: 1 + len(spec.sds)]]


def _node(spec: Spec, node: str, disks: dict[int, str]) -> str:
    """/etc/lab-node: what init needs to know, as shell assignments of plain words."""
    modules = [*MODULES, *(FAULT_MODULES if spec.faults else ()), *(("xfs", "ext4") if spec.backend == "qemu" else ())]
    values = {
        "lab_name": node,
        "lab_ip": spec.address(node),
        "lab_if": "vec0" if spec.backend == "uml" else "eth0",
        "lab_modules": " ".join(modules),
        "lab_udev": str(int(spec.udev)),
        "lab_faults": str(int(spec.faults)),
        "lab_home": _devices(spec)[0],
        "lab_sds": " ".join(f"{sds}:{spec.sds[sds]}:{device}" for sds, device in disks.items()),
        "lab_images": " ".join(map(str, spec.images)) if spec.gluster else "",
        "lab_hide": " ".join(str(p) for p in rootfs.code_directories()),
    }
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


def _home_disk(spec: Spec, own: Path, keys: identity.Keys) -> None:
    """The disk that keeps /var/lib/one and /var/tmp: ext4, filled when it is made."""
    content = own / "home"
    for path in ("one/datastores", "tmp"):
        (content / path).mkdir(parents=True)
    identity.install(content / "one/.ssh", keys, spec)
    directories = {*map(str, spec.sds), *([] if spec.gluster else map(str, spec.images))}
    for name in directories:
        (content / "one/datastores" / name).mkdir()
    for owned in [content / "one", *(content / "one").rglob("*")]:
        os.chown(owned, UID, GID)
    (content / "tmp").chmod(0o1777)
    image = own / "home.img"
    _sparse(image, spec.home)
    options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d", str(content)]
    process.run(["mkfs.ext4", *options, str(image)], timeout=60)
    shutil.rmtree(content)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)

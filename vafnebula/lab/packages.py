"""What a lab needs of Debian, and the check that it is there.

`LAB` is needed for every lab, `GLUSTER` unless --no-gluster, `QEMU` with --backend qemu, `UDEV` with --udev.  A
package stands beside the program that proves its presence, so that a missing one can be named instead of failing
obscurely later.  install.sh has the same names; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from vafnebula.lab.errors import LabError

LAB = {
    "user-mode-linux": "/usr/bin/linux.uml",
    "lvm2": "/usr/sbin/lvm",
    "thin-provisioning-tools": "/usr/sbin/thin_check",
    "openssh-server": "/usr/sbin/sshd",
    "openssh-client": "/usr/bin/ssh",
    "sudo": "/usr/bin/sudo",
    "kmod": "/usr/bin/kmod",
    "busybox-static": "/usr/bin/busybox",
    "xfsprogs": "/usr/sbin/mkfs.xfs",
    "e2fsprogs": "/usr/sbin/mkfs.ext4",
    "iproute2": "/usr/bin/ip",
    "iputils-ping": "/usr/bin/ping",
    "util-linux": "/usr/bin/nsenter",
    "ebtables": "/usr/sbin/ebtables",
    "nftables": "/usr/sbin/nft",
    "qemu-utils": "/usr/bin/qemu-img",
    "procps": "/usr/bin/pkill",
    "python3-minimal": "/usr/bin/python3",
}
GLUSTER = {
    "glusterfs-server": "/usr/sbin/glusterd",
    "glusterfs-client": "/usr/sbin/glusterfs",
}
QEMU = {
    "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
    "qemu-system-common": "/usr/lib/qemu/virtiofsd",
    "cpio": "/usr/bin/cpio",
}
UDEV = {"udev": "/lib/systemd/systemd-udevd"}


def require(*, backend: str, udev: bool, gluster: bool) -> None:
    """Raise LabError naming every package that is missing for such a lab, with the command that installs them."""
    wanted = {**LAB, **(GLUSTER if gluster else {}), **(QEMU if backend == "qemu" else {}), **(UDEV if udev else {})}
    missing = [package for package, program in wanted.items() if not Path(program).exists()]
    if missing:
        raise LabError(
            what="cannot be built",
            why=f"missing {', '.join(missing)}",
            advice=f"run `apt-get install {' '.join(missing)}`",
        )

"""mkimage: an empty disk, with a file system if the VM record names one.

No mkfs makes a discard pass: the volume is new and empty, and on a thin or copy-on-write volume the pass would only
cost time that grows with the size.
"""

from __future__ import annotations

from collections.abc import Sequence

from vafnebula import errors, units
from vafnebula.model import MakeImage, Settings
from vafnebula.node import disks, lvm, snapshots
from vafnebula.node.host import Host

# Minimum size in bytes, and the command up to label and device.  mkfs.xfs 6.1 refuses less than 300 MB.
MAKERS: dict[str, tuple[int, tuple[str, ...]]] = {
    "xfs": (300 * units.MIB, ("mkfs.xfs", "-q", "-f", "-K")),
    "ext4": (
        8 * units.MIB,
        ("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"),
    ),
    "ext3": (8 * units.MIB, ("mkfs.ext3", "-q", "-F", "-E", "nodiscard")),
    "ext2": (2 * units.MIB, ("mkfs.ext2", "-q", "-F", "-E", "nodiscard")),
}


def mkimage(host: Host, request: MakeImage, settings: Settings) -> dict[str, object]:
    """Make the disk.  Raises BadArgument, TooSmall before anything is changed, NoRoom, Busy, NotOurs, ..."""
    ref = request.disk
    disks.require_place(ref.directory, ref.sds, ref.vm)
    argv = _maker(request.filesystem, request.size)

    def build(tags: Sequence[str]) -> None:
        snapshots.of_zeros(host, settings, ref, lvm.in_extents(request.size), tags)
        if argv:
            # mkfs.xfs sets the device's block size, which the kernel grants to root alone (BLKBSZSET).
            host.format([*argv, "-L", request.label, ref.device], root=request.filesystem == "xfs")

    with disks.locked(settings, ref, "mkimage"):
        made_from = disks.recipe("mkimage", request.size, request.filesystem, request.label)
        made = disks.make(host, ref, made_from, request.size, build)
    return {"result": "made" if made else "there"}


def _maker(filesystem: str, size: int) -> tuple[str, ...]:
    if not filesystem:
        return ()
    if filesystem not in MAKERS:
        raise errors.BadArgument(what="DISK/FS", value=filesystem, why=f"known are {', '.join(MAKERS)}")
    least, argv = MAKERS[filesystem]
    if size < least:
        raise errors.TooSmall(
            size=size, what=f"a file system of type {filesystem}", least=least, mib=least // units.MIB
        )
    return argv

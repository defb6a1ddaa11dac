"""mkimage: a volatile disk, raw or with a file system; with FORMAT swap the same as mkswap."""

from __future__ import annotations

from typing import Callable

from vafnebula import errors
from vafnebula.model import MakeImage, MakeSwap
from vafnebula.one.xml import Vm
from vafnebula.tm import mkswap, reference
from vafnebula.tm.argv import Call

LABEL_LENGTH = 12
"""Of XFS; ext4 and swap have room for 16."""


def request(call: Call, read: Callable[[], Vm]) -> MakeImage | MakeSwap:
    """The file system is not in the call but in DISK/FS.

    A volume is always raw.  FORMAT qcow2 is harmless when the guest is told raw anyway (DISK/DRIVER, which oned fills
    from TM_MAD_CONF); otherwise the guest would look for qcow2 and not boot, so that is refused here, where the
    reason can be said.
    """
    if call.format == "swap":
        return mkswap.request(call, read)
    vm = read()
    disk = vm.disk(call.disk)
    if call.format != "raw" and disk.driver != "raw":
        raise errors.BadArgument(
            what="FORMAT",
            value=call.format,
            why="disks on LVM are raw; set DRIVER=raw in the system datastore and in this driver's TM_MAD_CONF",
        )
    return MakeImage(
        disk=reference.disk(call, vm),
        size=call.size,
        filesystem=disk.filesystem,
        label=disk.label or f"scratch-{call.disk}"[:LABEL_LENGTH],
    )

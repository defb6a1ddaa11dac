"""Call and record -> the DiskRef and Image that requests are made of."""

from __future__ import annotations

from vafnebula.model import DiskRef, Image
from vafnebula.one.xml import Vm
from vafnebula.tm.argv import Call


def disk(call: Call, vm: Vm) -> DiskRef:
    """The disk that `call` is about; its seq is that of the VM's last history record."""
    return DiskRef(vm=call.vm, disk=call.disk, seq=vm.seq, sds=call.sds, directory=call.directory)


def place(call: Call) -> DiskRef:
    """The disk that `call` is about, where nobody asks which history record does."""
    return DiskRef(vm=call.vm, disk=call.disk, seq=-1, sds=call.sds, directory=call.directory)


def image(call: Call) -> Image:
    """The image that `call` is about, where the node sees it."""
    return Image(datastore=call.datastore, path=call.image)

"""Call and record -> the DiskRef, Place and Image that requests are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vafnebula.model import DiskRef, Image
from vafnebula.one.xml import Vm
from vafnebula.tm.argv import Call

if TYPE_CHECKING:
    from vafnebula.config import Site
    from vafnebula.model_moves import Place


def disk(call: Call, vm: Vm) -> DiskRef:
    """The disk that `call` is about; its seq is that of the VM's last history record."""
    return DiskRef(vm=call.vm, disk=call.disk, seq=vm.seq, sds=call.sds, directory=call.directory)


def place(call: Call) -> DiskRef:
    """The disk that `call` is about, where nobody asks which history record does."""
    return DiskRef(vm=call.vm, disk=call.disk, seq=-1, sds=call.sds, directory=call.directory)


def source(call: Call, sds: int, directory: str, site: Site) -> Place:
    """Where what moves comes from, for the destination.  A source on the same node needs no ssh."""
    from vafnebula.model_moves import Place  # a clone does not wait for it

    host = "" if call.from_host == call.host else call.from_host
    return Place(host, sds, directory, site.python, site.remote_dir, site.connect_timeout)


def image(call: Call) -> Image:
    """The image that `call` is about, where the node sees it."""
    return Image(datastore=call.datastore, path=call.image)

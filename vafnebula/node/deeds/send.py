"""send: the volumes of a disk, or the files of a VM's directory, as a stream to stdout."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from vafnebula import blocks, errors, files, names, wire
from vafnebula.model import DiskRef, Settings
from vafnebula.model_moves import Part, Send
from vafnebula.node import disks, lock, lvm, parts, room, thin
from vafnebula.node.host import Host


def send(host: Host, request: Send, settings: Settings) -> dict[str, object]:
    """Facts: bytes that went out, bytes of the disk that were looked at.

    Raises as `offer` does; the stream then ends before its end, which is noticed.
    """
    disks.require_place(request.directory, request.sds, request.vm)
    ref = DiskRef(request.vm, max(request.disk, 0), 0, request.sds, request.directory)
    out = wire.Writer(host.outgoing())
    if request.disk < 0:
        wait = float(settings.lock_wait)
        what = f"send of VM {request.vm}"
        held = nullcontext() if request.held else lock.hold(
            settings.lock_dir, disks.vm_lock(request.vm), what, wait=wait, shared=True
        )  # fmt: skip
        with held:
            files.send(out, request.directory)
        return {"bytes": out.bytes}
    with nullcontext() if request.held else disks.locked(settings, ref, "send"):
        found = {p.name: p for p in parts.of_disk(host, ref.vg, request.vm, request.disk)}
        looked = 0
        for name, base in zip(request.volumes, request.bases):
            if name not in found:
                raise errors.NotFound(what=f"volume {ref.vg}/{name}", advice="it was removed meanwhile, retry")
            looked += _volume(host, settings, ref.vg, found[name], base, out)
    return {"bytes": out.bytes, "looked": looked}


def _volume(host: Host, settings: Settings, vg: str, part: Part, base: str, out: wire.Writer) -> int:
    out.begin({"name": part.name})
    with (
        _readable(host, settings, vg, part, base) as name,
        _active(host, vg, part.name) as device,
        blocks.Device(device) as disk,
    ):
        ranges = thin.differing(host, settings, vg, name, part.name) if name else None
        if not name:
            for change in blocks.differences(disk, None):
                out.change(change)
        else:
            with blocks.Device(names.device(vg, name)) as old:
                for change in blocks.differences(disk, old, ranges):
                    out.change(change)
    out.end()
    return part.size if ranges is None else sum(end - start for start, end in ranges)


@contextmanager
def _active(host: Host, vg: str, name: str) -> Iterator[str]:
    """The device of a volume; a disk snapshot has one only while the block runs."""
    device = names.device(vg, name)
    was = os.path.exists(device)
    if not was:
        lvm.activate(host, vg, name)
    try:
        yield device
    finally:
        if not was and re.fullmatch(r".*-[sb]\d+", name):
            lvm.let_go(host, vg, name)


@contextmanager
def _readable(host: Host, settings: Settings, vg: str, part: Part, base: str) -> Iterator[str]:
    """The volume of the base, readable while the block runs; '' for none.

    A thin origin is inactive.  When two senders need it, the last one takes its device away again.
    """
    if base != parts.ORIGIN:
        with _active(host, vg, base) if base else nullcontext():
            yield base
        return
    if not part.origin:
        raise errors.NotFound(what=f"the origin of {vg}/{part.name}", advice="it was removed meanwhile, retry")
    key = room.origin_lock(vg, room.key_of(part.origin))
    with lock.hold(settings.lock_dir, key, "", wait=float(settings.lock_wait), shared=True):
        try:
            with lvm.held(host, vg, part.origin):
                yield part.origin
        finally:
            origin = lvm.group(host, vg).find(part.origin)
            if origin and origin.kind == "thin":  # a classic snapshot's origin is active as long as the snapshot is
                lvm.let_go(host, vg, part.origin)

"""The frame of every deed that makes a disk: lock, make, publish; and what to do when something is there already.

A disk is finished when its volume carries this request's recipe and history record and `disk.N` points to it.  The same
request then succeeds at once, whether it is a retry or a twin.  Anything else of ours under that name was never
published, or belongs to an older incarnation of the VM: it is removed and made anew, unless it is in use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from vafnebula import errors, names
from vafnebula.model import DiskRef, Settings
from vafnebula.node import lock, lvm
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo

Build = Callable[[Sequence[str]], None]


@contextmanager
def locked(settings: Settings, ref: DiskRef, verb: str) -> Iterator[int]:
    """Hold the disk's lock, and a share of its VM's; yields the descriptor of the disk's."""
    what = f"{verb} of disk {ref.disk} of VM {ref.vm}"
    wait = float(settings.lock_wait)
    with (
        lock.hold(settings.lock_dir, vm_lock(ref.vm), what, wait=wait, shared=True),
        lock.hold(settings.lock_dir, disk_lock(ref.vm, ref.disk), what, wait=wait) as fd,
    ):
        yield fd


def vm_lock(vm: int) -> str:
    return f"vm-{vm}"


def disk_lock(vm: int, disk: int) -> str:
    return f"disk-{vm}-{disk}"


def recipe(verb: str, *parts: object) -> str:
    """What a disk is made from, as a short digest for its tag."""
    return names.digest(verb, *map(str, parts))[:16]


def make(host: Host, ref: DiskRef, made_from: str, size: int, build: Build) -> bool:
    """Make disk `ref` with `build(tags)`, which makes its volume, active, and raises VolumeExists when it is there.

    `size` (bytes) is what OpenNebula believes the disk to have.  The caller holds the disk's lock.  Returns False when
    the disk was finished already.  Raises NotOurs, Busy, BrokenSnapshot, and what `build` raises.
    """
    _require_free_link(ref)
    if os.path.islink(ref.link) and _settle(host, ref, made_from):
        return False
    tags = [
        names.OURS,
        names.tag("run", host.run_id),
        names.tag("vm", ref.vm),
        names.tag("disk", ref.disk),
        names.tag("seq", ref.seq),
        names.tag("recipe", made_from),
        names.tag("size", size),
    ]
    with Undo() as undo:
        mine = f"{lvm.by_name(ref.volume)} && {lvm.by_tag('run', host.run_id)}"
        undo.push(ref.volume, partial(lvm.remove, host, ref.vg, mine))
        try:
            build(tags)
        except errors.VolumeExists:
            _clear(host, ref)
            build(tags)
        if not os.path.exists(ref.device):  # a classic snapshot of an inactive origin is made inactive
            lvm.activate(host, ref.vg, ref.volume)
        undo.push(ref.link, partial(host.unlink, ref.link))
        host.publish(ref.device, ref.link)
        undo.commit()
    return True


def _require_free_link(ref: DiskRef) -> None:
    if os.path.lexists(ref.link) and not os.path.islink(ref.link):
        raise errors.NotOurs(what=f"{ref.link}, which is not a link,")


def _settle(host: Host, ref: DiskRef, made_from: str) -> bool:
    """There is a link: is the disk finished?  If not, remove what there is of ours."""
    volume = lvm.group(host, ref.vg).find(ref.volume)
    if (
        volume is not None
        and volume.ours
        and volume.tag("recipe") == made_from
        and volume.tag("seq") == str(ref.seq)
        and os.readlink(ref.link) == ref.device
    ):
        if volume.overflowed:
            raise errors.BrokenSnapshot(volume=f"{ref.vg}/{ref.volume}")
        if not os.path.exists(ref.device):
            lvm.activate(host, ref.vg, ref.volume)
        return True
    if volume is not None:
        _clear(host, ref)
    host.unlink(ref.link)
    return False


def _clear(host: Host, ref: DiskRef) -> None:
    """Remove a volume of ours that stands in the way.  Raises NotOurs when it is not, Busy when it is in use."""
    volume = lvm.group(host, ref.vg).find(ref.volume)
    if volume is not None and not volume.ours:
        raise errors.NotOurs(what=f"volume {ref.vg}/{ref.volume}")
    # The disk alone first: it may be in use, and then nothing that belongs to it may go either.
    lvm.remove(host, ref.vg, lvm.by_name(ref.volume))
    lvm.remove(host, ref.vg, lvm.by_disk(ref.vm, ref.disk))


def saved_marker(ref: DiskRef) -> str:
    """The file that proves that mvds saved this disk; it holds the image's path."""
    return f"{ref.directory}/.disk.{ref.disk}.saved"


def require_backup_place(path: str, vm: int) -> None:
    """Raises BadArgument unless `path` is `<absolute, plain path>/<vm>/backup`: what is there will be removed."""
    plain = path.startswith("/") and path == os.path.normpath(path) and path.isprintable() and path.count("/") > 2
    if not plain or path.split("/")[-2:] != [str(vm), "backup"]:
        raise errors.BadArgument(what="backup directory", value=path, why=f"not <root>/{vm}/backup")


def require_place(directory: str, sds: int, vm: int) -> None:
    """Raises BadArgument unless `directory` is `<absolute, plain path>/<sds>/<vm>`.

    The front-end half has checked this; what removes directory trees checks it again.
    """
    absolute = directory.startswith("/") and not directory.startswith("//")  # normpath keeps two slashes
    plain = absolute and directory == os.path.normpath(directory) and directory.isprintable()
    if not plain or directory.split("/")[-2:] != [str(sds), str(vm)] or directory.count("/") < 3:
        raise errors.BadArgument(what="VM directory", value=directory, why=f"not <root>/{sds}/{vm}")

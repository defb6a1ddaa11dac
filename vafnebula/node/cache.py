"""The cache: every image is copied once per node into an origin, and disks are snapshots of it.

    stat the image -> key -> `lvcreate -s` of vaf-origin-KEY under its shared lock      (hit: one LVM command)
                          -> no such origin: exclusive lock -> fill -> once more         (miss)

An origin is filled under another name and renamed when it is complete, so that the name alone proves completeness:
LVM itself does the look-up.  The order at the end of a fill is: all bytes written and flushed; the image found
unchanged; device taken away; read-only and `vaf.complete` in one metadata transaction; renamed.  Whatever a crash
leaves is either a fill without the tag (debris: removed by the next fill of that key, or by eviction) or one with it
(finished by a rename).

A changed image has another key, hence another origin; disks keep the one they were made from.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from vafnebula import errors, log, names
from vafnebula.model import Image, Settings
from vafnebula.node import blockcopy, lock, lvm, room, source
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo

ATTEMPTS = 3  # an origin can be evicted between fill and snapshot, if cache_min_age is 0


class Cache:
    """The origins of one VG.  `facts` collects figures for reply and log: cache hit or miss, bytes copied."""

    def __init__(self, host: Host, vg: str, settings: Settings) -> None:
        self.host = host
        self.vg = vg
        self.settings = settings
        self.facts: dict[str, object] = {}

    def snapshot(self, image: Image, found: source.Source, size: int, make: Callable[[str], None]) -> None:
        """Call `make(origin)` with the complete origin of the image, filling it first when there is none.

        `make` makes a snapshot and raises NotFound when the origin is not there.  `size` (bytes) is the disk's: in mode
        thick an origin is as large as the disks made of it, because a classic snapshot cannot be larger.
        """
        volume_size = lvm.in_extents(found.size if self.settings.mode == "thin" else size)
        thick = None if self.settings.mode == "thin" else volume_size
        key = names.origin_key(image.datastore, found.path, found.fingerprint, thick)
        self.facts = {"cache": "hit", "origin": key, "bytes": 0}
        for _ in range(ATTEMPTS):
            if self.use(key, make):
                return
            self._fill(key, image, found, volume_size)
        raise errors.NotFound(what=f"origin {key}", advice="it is evicted as soon as it is filled; raise cache_min_age")

    def held(self, image: str, fingerprint: str, size: int) -> str:
        """KEY of the complete origin of image `<DS>/<file>` with that fingerprint for a disk of `size` bytes, or ''."""
        for volume in lvm.group(self.host, self.vg).volumes:
            complete = volume.ours and names.COMPLETE in volume.tags and volume.name.startswith(names.ORIGIN_PREFIX)
            fits = volume.size <= size if self.settings.mode == "thin" else volume.size == size
            if complete and fits and volume.tag("image") == image and volume.tag("print") == fingerprint:
                return room.key_of(volume.name)
        return ""

    def use(self, key: str, make: Callable[[str], None]) -> bool:
        """Call `make(origin)` with origin KEY; False when it is not there."""
        name = room.origin_lock(self.vg, key)
        wait = float(self.settings.lock_wait)
        with lock.hold(self.settings.lock_dir, name, "", wait=wait, shared=True) as fd:
            try:
                make(names.ORIGIN_PREFIX + key)
            except errors.NotFound:
                return False
            lock.mark_used(fd)
            return True

    def _fill(self, key: str, image: Image, found: source.Source, size: int) -> None:
        what = f"fill of origin {key}"
        name = room.origin_lock(self.vg, key)
        with lock.hold(self.settings.lock_dir, name, what, wait=self.settings.lock_wait) as fd:
            group = lvm.group(self.host, self.vg)
            if group.find(names.ORIGIN_PREFIX + key):
                return  # somebody filled it while we waited
            begin = time.monotonic()
            fill = names.FILL_PREFIX + key
            left = group.find(fill)
            if left and names.COMPLETE not in left.tags:
                lvm.remove(self.host, self.vg, lvm.by_name(fill))
                left = None
            if left is None:
                self._copy(key, image, found, size, fd)
            lvm.rename(self.host, self.vg, fill, names.ORIGIN_PREFIX + key)
            lock.mark_used(fd)
            self.facts["cache"] = "miss"
            seconds = time.monotonic() - begin
            log.event("fill", vg=self.vg, origin=key, image=found.path, bytes=self.facts["bytes"], seconds=seconds)

    def _copy(self, key: str, image: Image, found: source.Source, size: int, lock_fd: int) -> None:
        host, vg, settings = self.host, self.vg, self.settings
        fill = names.FILL_PREFIX + key
        device = names.device(vg, fill)
        thin = settings.mode == "thin"
        wanted = blockcopy.bytes_wanted(found) if thin else size
        tags = [
            names.OURS,
            names.tag("run", host.run_id),
            names.tag("image", f"{image.datastore}/{_taggable(found.path)}"),
            names.tag("print", found.fingerprint),
        ]
        with Undo() as undo:
            undo.push(fill, lambda: lvm.remove(host, vg, f"{lvm.by_name(fill)} && {lvm.by_tag('run', host.run_id)}"))
            room.for_copy(host, settings, vg, fill, size, tags, wanted)
            self.facts["bytes"] = blockcopy.fill(
                host, found, device, size, zeroed=thin, streams=settings.copy_streams, locks=[lock_fd]
            )
            if settings.verify:
                blockcopy.compare(host, found.path, found.format, device, found.size, [lock_fd])
            source.require_unchanged(found)
            lvm.deactivate(host, vg, fill)
            holds = names.tag("holds", min(wanted, found.file_size))  # what its eviction will give back, at least
            lvm.seal(host, vg, fill, [names.COMPLETE, holds], [names.reserve(wanted)], skip=thin)
            undo.commit()


def _taggable(path: str) -> str:
    """A file name in the characters that LVM allows in tags; for people, the key is what counts."""
    return re.sub(r"[^A-Za-z0-9_+.=-]", "_", path.rsplit("/", 1)[-1])[:80]

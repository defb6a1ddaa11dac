"""What things are called on a node.  Other machines remember these names: do not change them.

    vg-one-<SDS>              VG of system datastore SDS (OpenNebula 7.2+ migrates links to /dev/vg-one*)
    vaf-thinpool              the thin pool of such a VG, in mode thin
    lv-one-<VM>-<DISK>        a VM's disk
    lv-one-<VM>-<DISK>-s<ID>  its disk snapshot ID; -b<N>: what backup N holds; other endings last as long as an action
    vaf-origin-<KEY>          a cached image: complete, read-only, inactive
    vaf-fill-<KEY>            the same while it is filled; renamed when complete

LVM tags say the rest.  `vafnebula` marks a volume as ours; the others are `vaf.<what>[=<value>]`.
KEY is 20 hex digits of a digest over image datastore, file name and fingerprint (and, in mode thick, the size).
"""

from __future__ import annotations

from vafnebula import errors

try:  # hashlib loads OpenSSL, which is a tenth of a warm clone
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

OURS = "vafnebula"
THIN_POOL = "vaf-thinpool"
ORIGIN_PREFIX = "vaf-origin-"
FILL_PREFIX = "vaf-fill-"
COMPLETE = "vaf.complete"
PINNED = "vaf.pinned"
PARTIAL = "vaf.partial"  # of a disk whose content is still on its way
DEVICES = "/dev"

MAX_ID = 2**31 - 1


def tag(what: str, value: object) -> str:
    """`vaf.what=value`; LVM allows A-Z a-z 0-9 _ + . - / = ! : & # in a tag."""
    return f"vaf.{what}={value}"


def tag_value(tags: frozenset[str], what: str) -> str | None:
    """The value of tag `what` among `tags`, None when absent."""
    prefix = f"vaf.{what}="
    return next((t[len(prefix) :] for t in tags if t.startswith(prefix)), None)


def reserve(size: int) -> str:
    """The tag of a volume that will still take up to `size` bytes of its thin pool."""
    return tag("reserve", size)


def sds_of(vg_name: str) -> int:
    """The system datastore of a VG."""
    return int(vg_name.rpartition("-")[2])


def vg(sds: int) -> str:
    """The VG of system datastore `sds`."""
    return f"vg-one-{sds}"


def disk_volume(vm: int, disk: int) -> str:
    """The volume of disk `disk` of VM `vm`."""
    return f"lv-one-{vm}-{disk}"


def disk_snapshot(vm: int, disk: int, snap: int) -> str:
    """The volume of disk snapshot `snap` of disk `disk` of VM `vm`."""
    return f"{disk_volume(vm, disk)}-s{snap}"


def backup_base(vm: int, disk: int, increment: int) -> str:
    """The volume that holds what backup `increment` of a disk saw."""
    return f"{disk_volume(vm, disk)}-b{increment}"


def origin_key(datastore: int, source: str, fingerprint: str, size: int | None = None) -> str:
    """KEY of the origin of image file `source` of `datastore` with `fingerprint`, as 20 hex digits.

    `size` (bytes) belongs to the key in mode thick, where a snapshot cannot be larger than its origin.
    """
    parts = [str(datastore), source.rsplit("/", 1)[-1], fingerprint]
    if size is not None:
        parts.append(str(size))
    return digest(*parts)[:20]


def digest(*parts: str) -> str:
    """A digest of the parts, as hex digits: equal parts give equal digests on every node and for ever."""
    made: str = blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
    return made


def hasher() -> blake2b:
    """For content: 32 bytes, as fast as a disk."""
    return blake2b(digest_size=32)


def device(vg_name: str, volume: str) -> str:
    """The path of a volume's block device."""
    return f"{DEVICES}/{vg_name}/{volume}"


def identifier(what: str, text: str) -> int:
    """`text` as an OpenNebula id.  Raises BadArgument unless it is a plain decimal number."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID):
        raise errors.BadArgument(what=what, value=text, why="not a number")
    return int(text)

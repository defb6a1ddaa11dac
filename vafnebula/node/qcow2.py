"""The qcow2 header, read by ourselves: an image file may come from a stranger, and a program that opens it to tell
what it refers to may follow that reference.

Layout: QEMU's docs/interop/qcow2.txt (big endian).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vafnebula import errors

MAGIC = b"QFI\xfb"
HEADER = 104  # bytes of a version 3 header
_EXTERNAL_DATA = 1 << 2  # incompatible feature bit
_ADVICE = "flatten it with `qemu-img convert -O raw`"


@dataclass(frozen=True)
class Header:
    """`size` is the virtual size in bytes."""

    version: int
    size: int


def parse(head: bytes, path: str) -> Header | None:
    """The header that `head` (the file's first HEADER bytes) begins with, None when it is not qcow2.

    Raises ImageUnusable for what cannot be copied as one self-contained image: a backing file, an external data
    file, encryption, an unknown version or a cut header.
    """
    if not head.startswith(MAGIC):
        return None
    if len(head) < 72:
        raise errors.ImageUnusable(path=path, why="its qcow2 header is cut off", advice="register it again")
    version, backing, _, _, size, crypt = struct.unpack_from(">IQIIQI", head, 4)
    if version not in (2, 3):
        raise errors.ImageUnusable(path=path, why=f"qcow2 version {version} is unknown", advice=_ADVICE)
    if backing:
        raise errors.ImageUnusable(path=path, why="it needs a backing file", advice=_ADVICE)
    if crypt:
        raise errors.ImageUnusable(path=path, why="it is encrypted inside qcow2", advice=_ADVICE)
    if version == 3:
        if len(head) < HEADER:
            raise errors.ImageUnusable(path=path, why="its qcow2 header is cut off", advice="register it again")
        if struct.unpack_from(">Q", head, 72)[0] & _EXTERNAL_DATA:
            raise errors.ImageUnusable(path=path, why="its data is in another file", advice=_ADVICE)
    return Header(version, size)

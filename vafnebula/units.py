"""Sizes.  Inside the project every size is an int of bytes; MiB exist only at OpenNebula's edge."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def round_up(size: int, step: int) -> int:
    """The smallest multiple of `step` that is not below `size` (both bytes)."""
    return -(-size // step) * step


def human(size: int) -> str:
    """`size` bytes for a person: `1.5 GiB`, `512 MiB`, `17 bytes`."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"

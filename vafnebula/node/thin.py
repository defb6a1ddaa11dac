"""Which blocks of two thin volumes can differ, from the thin pool's metadata: no data is read for it.

    dmsetup message <pool> 0 reserve_metadata_snap     a consistent view while the pool is in use; one at a time
    thin_delta -m --snap1 A --snap2 B <metadata>       the ranges in which A and B do not share blocks
    dmsetup message <pool> 0 release_metadata_snap

Where this cannot be had (no thin-provisioning-tools, no sudo rule), None says so: the caller reads and compares all.
"""

from __future__ import annotations

import re
from contextlib import suppress
from xml.etree import ElementTree as ET

from vafnebula import errors, log, names
from vafnebula.model import Settings
from vafnebula.node import lock, lvm
from vafnebula.node.host import Host

SECTOR = 512
_SAME = "same"


def differing(host: Host, settings: Settings, vg: str, base: str, volume: str) -> list[tuple[int, int]] | None:
    """Ranges [start, end) in bytes, in order, outside of which `base` and `volume` share all blocks."""
    group = lvm.group(host, vg)
    found = [group.find(name) for name in (base, volume)]
    if any(v is None or v.kind != "thin" for v in found):
        return None
    mapped = f"{vg.replace('-', '--')}-{names.THIN_POOL.replace('-', '--')}"
    with lock.hold(settings.lock_dir, f"thin-{vg}", f"thin_delta of {volume}", wait=settings.lock_wait):
        if not _message(host, mapped, "reserve"):
            _message(host, mapped, "release")  # somebody who used it was killed
            if not _message(host, mapped, "reserve"):
                return None
        try:
            ids = lvm.thin_ids(host, vg)
            argv = ["thin_delta", "-m", "--snap1", str(ids[base]), "--snap2", str(ids[volume])]
            done = host.query([*argv, f"/dev/mapper/{mapped}_tmeta"])
        except (errors.CommandFailed, KeyError):
            return None
        finally:
            _message(host, mapped, "release")
    if done.code != 0:
        log.trouble("thin_delta", volume=volume, why=done.why)
        return None
    with suppress(ET.ParseError, KeyError, ValueError):
        return parse(done.out)
    return None


def parse(text: bytes) -> list[tuple[int, int]]:
    """The differing ranges in thin_delta's XML, neighbours joined."""
    root = ET.fromstring(re.sub(rb"<!DOCTYPE[^>]*>", b"", text))  # noqa: S314  from a program of the node
    block = int(root.attrib["data_block_size"]) * SECTOR
    ranges: list[tuple[int, int]] = []
    for element in root.iter():
        if "begin" not in element.attrib or element.tag == _SAME:
            continue
        start = int(element.attrib["begin"]) * block
        end = start + int(element.attrib["length"]) * block
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges


def _message(host: Host, mapped: str, what: str) -> bool:
    return host.lvm(["dmsetup", "message", f"{mapped}-tpool", "0", f"{what}_metadata_snap"]).code == 0

"""Datastore file -> block device, and back: `dd` with large blocks and direct I/O, or qemu-img for qcow2.

Sparse in, sparse out, and no older content readable through what was not written.  On a fresh thin volume unwritten
parts read zeros, so holes are skipped; on a plain volume they are zeroed first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from vafnebula import errors, process, units
from vafnebula.node.host import Host
from vafnebula.node.source import QCOW2, Source, data_extents, reads_direct

BLOCK = units.MIB  # below it direct I/O loses speed, above it nothing is won (docs/benchmarks.md)
MERGE = 16 * units.MIB  # a hole smaller than this is read through: cheaper than another process
FINE = 64 * units.KIB  # blocks in which scattered data is written: the smallest chunk of a thin pool
SECTOR = 4096
READ = 64 * units.MIB  # at once, when ranges are copied by qemu-io
BATCH = 500  # its commands for one process: a command line has a limit

Run = tuple[int, int]  # [start, end) in bytes, both multiples of BLOCK


def plan(extents: Sequence[tuple[int, int]], streams: int) -> list[list[Run]]:
    """Divide data extents (bytes, sorted) into block-aligned runs, for `streams` copies of about equal length.

    Each run is for one `dd`; neighbours closer than MERGE become one, so the number of processes stays small.
    """
    runs: list[Run] = []
    for start, end in extents:
        first, last = start // BLOCK * BLOCK, units.round_up(end, BLOCK)
        if runs and first - runs[-1][1] < MERGE:
            runs[-1] = (runs[-1][0], max(last, runs[-1][1]))
        else:
            runs.append((first, last))
    share = units.round_up(max(1, -(-sum(end - start for start, end in runs) // streams)), BLOCK)
    lanes: list[list[Run]] = [[]]
    room = share
    for start, end in runs:
        while start < end:
            cut = min(end, start + room)
            lanes[-1].append((start, cut))
            room -= cut - start
            start = cut
            if room == 0:
                lanes.append([])
                room = share
    return [lane for lane in lanes if lane]


def grain(extents: Sequence[tuple[int, int]]) -> int:
    """The size of the output blocks for a sparse copy: zero blocks are left out whole.

    Small blocks cost system calls, so only data that lies scattered (a file system's metadata) gets them.
    """
    data = sum(end - start for start, end in extents)
    return BLOCK if widened(extents, BLOCK) <= 1.1 * data + BLOCK else FINE


def widened(extents: Sequence[tuple[int, int]], step: int) -> int:
    """How many bytes the extents cover when each is widened to whole steps."""
    total, done = 0, 0
    for start, end in extents:
        first, last = max(start // step * step, done), units.round_up(end, step)
        total += max(0, last - first)
        done = max(done, last)
    return total


def bytes_wanted(found: Source) -> int:
    """Upper bound of what a copy will occupy in a thin pool."""
    if found.format == QCOW2:
        return found.size  # clusters may be compressed: only the virtual size is safe
    extents = data_extents(found.path)
    return widened(extents, grain(extents)) + FINE


def gaps(runs: Sequence[Run], size: int) -> list[tuple[int, int]]:
    """What of [0, size) the runs do not cover, widened to whole sectors."""
    found, position = [], 0
    for start, end in sorted(runs):
        if start > position:
            found.append((position, start))
        position = max(position, end)
    if position < size:
        found.append((position, size))
    return found


def fill(
    host: Host, source: Source, device: str, size: int, *, zeroed: bool, streams: int, locks: Sequence[int]
) -> int:
    """Copy an image onto `device` of `size` bytes; returns the bytes read.

    `zeroed`: what is not written reads zeros already.  Raises CopyFailed, Interrupted.
    """
    if source.format == QCOW2:
        return _convert(host, source, device, size, zeroed, locks)
    extents = data_extents(source.path)
    lanes = plan(extents, streams)
    block = grain(extents) if zeroed else BLOCK
    if not zeroed:
        # A last block that the file only half fills is copied short: zero it whole, then copy over it.
        whole = [(a, min(b, source.file_size // BLOCK * BLOCK)) for lane in lanes for a, b in lane]
        for start, end in gaps([run for run in whole if run[0] < run[1]], size):
            host.zero(device, start, end - start)
    flags = ["iflag=direct"] if reads_direct(source.path) else []
    conv = "conv=notrunc,nocreat,fsync" + (",sparse" if zeroed else "")
    copied = 0
    for turn in range(max((len(lane) for lane in lanes), default=0)):
        runs = [lane[turn] for lane in lanes if turn < len(lane)]
        argvs = [
            ["dd", f"if={source.path}", f"of={device}", *_blocks(run, block), *flags, "oflag=direct", conv]
            for run in runs
        ]
        for run, done in zip(runs, _copy(host, source.path, argvs, locks)):
            copied += _require_length(done, min(run[1], source.file_size) - run[0], source.path)
    return copied


def _blocks(run: Run, block: int) -> list[str]:
    """dd's words for a run: read in BLOCKs, written in `block`s."""
    start, end = run
    sizes = [f"bs={BLOCK}"] if block == BLOCK else [f"ibs={BLOCK}", f"obs={block}"]
    return [*sizes, f"skip={start // BLOCK}", f"seek={start // block}", f"count={(end - start) // BLOCK}"]


def _convert(host: Host, source: Source, device: str, size: int, zeroed: bool, locks: Sequence[int]) -> int:
    tail = source.size // SECTOR * SECTOR
    if not zeroed and tail < size:
        host.zero(device, tail, size - tail)
    cache = ["-T", "none"] if reads_direct(source.path) else []
    known = ["--target-is-zero"] if zeroed else []
    argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-n", *known, "-t", "none", *cache, source.path, device]
    _copy(host, source.path, [argv], locks)
    return source.file_size


def save(host: Host, device: str, size: int, path: str, image_format: str, locks: Sequence[int]) -> None:
    """Write `size` bytes of `device` (or a raw file) into the existing empty file `path`, zeros as holes; flush it.

    Raises CopyFailed, Interrupted.
    """
    if image_format == QCOW2:
        argv = ["qemu-img", "convert", "--image-opts", "-O", "qcow2", "-t", "writeback", _view(device, size), path]
        _copy(host, device, [argv], locks)
        return
    blocks = -(-size // BLOCK)
    flags = [*(["iflag=direct"] if reads_direct(device) else []), "conv=notrunc,nocreat,sparse,fsync"]
    argv = ["dd", f"if={device}", f"of={path}", f"bs={BLOCK}", f"count={blocks}", *flags]
    [done] = _copy(host, device, [argv], locks)
    if _length(done) < size:
        raise errors.CopyFailed(source=device, why=f"only {_length(done)} of {size} bytes were read")
    host.finish_file(path, size)


def save_ranges(
    host: Host, device: str, size: int, path: str, ranges: Sequence[tuple[int, int]], locks: Sequence[int]
) -> None:
    """Make `path` a qcow2 image of `size` bytes that holds the given ranges of `device` and nothing else.

    Zeros within them are written down as zeros, so that they hide what an image below this one has there.  `ranges` are
    multiples of 64 KiB, qcow2's cluster.  Raises CopyFailed, Interrupted.
    """
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", device, "-F", "raw", path, str(size)]
    _copy(host, device, [make], locks)
    wanted = [(a, min(b, size)) for a, b in ranges if a < size]
    reads = [f"read -q {at} {min(READ, end - at)}" for start, end in wanted for at in range(start, end, READ)]
    for i in range(0, len(reads), BATCH):
        # -C: what is read from the backing device is copied into the image
        commands = [word for read in reads[i : i + BATCH] for word in ("-c", read)]
        _copy(host, device, [["qemu-io", "-C", "-f", "qcow2", *commands, path]], locks)
    _copy(host, device, [["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", "", path]], locks)
    _require_ranges(host, path, wanted, locks)


def _require_ranges(host: Host, path: str, wanted: Sequence[tuple[int, int]], locks: Sequence[int]) -> None:
    """Raises CopyFailed unless the image holds exactly the clusters of `wanted`."""
    argv = ["qemu-img", "map", "-f", "qcow2", "--output=json", path]
    [done] = _copy(host, path, [argv], locks)
    present = sum(part["length"] for part in json.loads(done.out) if part["present"])
    if present != sum(end - start for start, end in wanted):
        raise errors.CopyFailed(source=path, why=f"it holds {present} bytes of what was changed")


def compare(host: Host, path: str, image_format: str, device: str, size: int, locks: Sequence[int]) -> None:
    """Read an image and a device back and compare `size` bytes.  Raises CopyFailed when they differ."""
    if image_format == QCOW2:
        image = f"driver=qcow2,file.driver=file,file.filename={path.replace(',', ',,')}"
        argv = ["qemu-img", "compare", "--image-opts", image, _view(device, size)]
    else:
        argv = ["cmp", "-n", str(size), path, device]
    try:
        _copy(host, path, [argv], locks)
    except errors.CopyFailed as e:
        raise errors.CopyFailed(source=path, why="what was written does not compare equal") from e


def _copy(host: Host, source: str, argvs: Sequence[Sequence[str]], locks: Sequence[int]) -> list[process.Completed]:
    try:
        return host.copy(argvs, locks)
    except errors.CommandFailed as e:
        # dd ends with its counts, which would push the reason out of the line
        why = re.sub(r" \d+\+\d+ records in .*", "", str(e.facts["why"]))
        raise errors.CopyFailed(source=source, why=f"{e.facts['program']}: {why}") from e


def _view(device: str, size: int) -> str:
    """The first `size` bytes of a volume, which is larger than its disk by the rest of an extent."""
    return f"driver=raw,size={size},file.driver=host_device,file.filename={device}"


def _length(done: process.Completed) -> int:
    found = re.search(rb"^(\d+) bytes? ", done.err, re.MULTILINE)
    return int(found[1]) if found else 0


def _require_length(done: process.Completed, wanted: int, path: str) -> int:
    copied = _length(done)
    if copied != wanted:
        raise errors.CopyFailed(source=path, why=f"{copied} of {wanted} bytes were copied")
    return copied

"""What is in the benchmark's images: incompressible bytes in runs of many lengths, holes between them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from vafnebula import units

RUNS = (1, 4, 16, 2, 64, 8, 32)  # MiB of data between two holes, again and again


def layout(size: int, holes: int) -> Iterator[tuple[int, int]]:
    """Data extents [start, end) of an image of `size` bytes, `holes` percent of which is hole."""
    position = 0
    for run in itertools.cycle(RUNS):
        if position >= size:
            return
        end = min(size, position + run * units.MIB)
        yield position, end
        position = end + units.round_up(run * units.MIB * holes // (100 - holes), units.MIB)


def write(path: Path, size: int, holes: int) -> None:
    """Write such an image into the existing file `path`."""
    block = os.urandom(units.MIB)
    with path.open("r+b", buffering=0) as file:
        file.truncate(size)
        for start, end in layout(size, holes):
            file.seek(start)
            for offset in range(start, end, units.MIB):
                # every block differs, so that a copy that lands at the wrong place does not compare equal
                file.write(offset.to_bytes(8, "big") + block[8 : min(units.MIB, end - offset)])

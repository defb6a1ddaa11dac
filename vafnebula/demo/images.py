"""Images for the demo: real file systems with files in them, sparse as a freshly installed system is."""

from __future__ import annotations

from pathlib import Path

from vafnebula import units
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import ROOT, Image

DATASTORE = 1
FILLED = 40  # percent of the system image that holds data
FILE = 4 * units.MIB  # bytes of one file in it
RESULT = "/results/run-1.txt"  # what the guest leaves on the persistent disk

# $1 directory for the content, $2 image file, $3 its size in bytes, $4 label
BUILD = """
truncate -s "$3" "$1.img"
mkfs.ext4 -q -F -L "$4" -E lazy_itable_init=1,lazy_journal_init=1 -d "$1" "$1.img"
cp --sparse=always "$1.img" "$2"
rm -rf "$1" "$1.img"
du -k "$2" | cut -f 1
"""
SYSTEM = """
mkdir -p "$1/boot" "$1/usr/lib"
head -c "$5" /dev/urandom >"$1/usr/lib/part-0"
n=1
while [ "$n" -lt "$6" ]; do cp "$1/usr/lib/part-0" "$1/usr/lib/part-$n"; n=$((n + 1)); done
"""
DATA = """
mkdir -p "$1/results"
echo 'no run yet' >"$1/results/README"
"""


def system(lab: Lab, size: int) -> tuple[Image, int]:
    """An operating system's image of `size` bytes on the datastore, and the bytes of it that hold data."""
    parts = max(1, size * FILLED // 100 // FILE)
    return _build(lab, SYSTEM, "worker", size, str(min(FILE, size // 4)), str(parts))


def data(lab: Lab, size: int) -> tuple[Image, int]:
    """A persistent image, nearly empty."""
    image, used = _build(lab, DATA, "results", size)
    return Image(image.datastore, image.source, image.size, persistent=True), used


def _build(lab: Lab, content: str, label: str, size: int, *more: str) -> tuple[Image, int]:
    path = lab.datastore(DATASTORE) / label
    arguments = [f"/tmp/{label}", str(path), str(size), label, *more]  # noqa: S108  of the lab's own root
    done = lab.run(["sh", "-euc", content + BUILD, "sh", *arguments], timeout=300)
    return Image(DATASTORE, f"{ROOT}/{DATASTORE}/{label}", size), int(done.out) * units.KIB


def read_result(lab: Lab, image: Image) -> str:
    """What the file RESULT in the persistent image says, read on the front-end."""
    path = lab.datastore(image.datastore) / Path(image.source).name
    return lab.run(["debugfs", "-R", f"cat {RESULT}", str(path)], timeout=60).out.decode()

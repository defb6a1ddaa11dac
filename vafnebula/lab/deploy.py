"""What an installation puts on the front-end, and how it gets to the nodes.

    CHECKOUT/mads/tm/fs_lvm_snap/...     -> REMOTES/tm/fs_lvm_snap/...        every directory of mads/ likewise
    CHECKOUT/hooks/vnm/...               -> REMOTES/vnm/DRIVER/...            for every Linux-bridge driver
    CHECKOUT/vafnebula/*.py, tm/, one/, node/ -> REMOTES/vafnebula/vafnebula/...   the core and both halves
    the site file                        -> REMOTES/etc/vafnebula/vafnebula.conf

REMOTES is /var/lib/one/remotes.  OpenNebula copies all of it to /var/tmp/one on every node (`onehost sync -f`);
`pack` and UNPACK do the same where there is no OpenNebula.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

DRIVERS = ("bridge", "fw", "802.1Q", "vxlan", "dummy")  # OpenNebula's network drivers on Linux bridges
# Replaces the copy of a node in one step, so that a running action never sees half of it; a power cut does not undo it.
UNPACK = """\
set -e
cd /var/tmp
rm -rf one.new one.old
mkdir one.new
tar -x -f - -C one.new
if [ -d one ]; then mv one one.old; fi
sync -f one.new
mv one.new one
rm -rf one.old
sync -f .
"""


@dataclass(frozen=True)
class File:
    """One file of an installation: its path below REMOTES, its content, whether it is executable."""

    path: Path
    content: bytes
    executable: bool


def plan(checkout: Path, conf: str = "") -> list[File]:
    """All files of an installation from `checkout`, with `conf` as the text of the site file."""
    files = [
        File(Path("etc/vafnebula/vafnebula.conf"), conf.encode(), executable=False),
    ]
    package = checkout / "vafnebula"
    halves = [p for half in ("tm", "one", "node") for p in (package / half).rglob("*.py")]
    for source in sorted([*package.glob("*.py"), *halves]):
        path = Path("vafnebula/vafnebula") / source.relative_to(package)
        files.append(File(path, source.read_bytes(), executable=False))
    hooks = [(checkout / "hooks/vnm", Path("vnm") / driver) for driver in DRIVERS]
    for above, below in ((checkout / "mads", Path()), *hooks):
        for source in sorted(above.rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                executable = bool(source.stat().st_mode & 0o100)
                files.append(File(below / source.relative_to(above), source.read_bytes(), executable))
    return files


def install(files: list[File], remotes: Path, *, uid: int, gid: int) -> None:
    """Write `files` below `remotes`, owned by `uid`:`gid`.  What only we put there before, and is gone now, goes."""
    for ours in (remotes / "vafnebula", remotes / "tm/fs_lvm_snap"):
        shutil.rmtree(ours, ignore_errors=True)
    for file in files:
        target = remotes / file.path
        for above in reversed(target.relative_to(remotes).parents):
            directory = remotes / above
            if not directory.is_dir():
                directory.mkdir(mode=0o755)
                os.chown(directory, uid, gid)
        new = target.with_name(f".{target.name}.new")
        new.write_bytes(file.content)
        new.chmod(0o755 if file.executable else 0o644)
        os.chown(new, uid, gid)
        new.replace(target)


def pack(remotes: Path) -> bytes:
    """The tree at `remotes` as a tar file, links followed: what a node gets."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", dereference=True) as tar:
        tar.add(remotes, arcname=".")
    return data.getvalue()

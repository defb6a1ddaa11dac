"""The files of a VM's directory as a stream, and out of it: context CD, checkpoint, deployment files and whatever else.

Links are not sent: a disk's link is made where its volume is.  Neither are half-written files (`*.new`, `*.vaf-*`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from vafnebula import blocks, errors, wire


def send(out: wire.Writer, directory: str, skip: Callable[[str], bool] = lambda path: False) -> None:
    """Send all files below `directory` but those whose path (relative) `skip` knows; none when it does not exist."""
    for path, status in _entries(directory):
        if skip(path):
            continue
        out.begin({"path": path, "mode": stat.S_IMODE(status.st_mode), "size": status.st_size})
        if not path.endswith("/"):
            with blocks.Device(f"{directory}/{path}") as file:
                for change in blocks.differences(file, None, file.data()):
                    out.change(change)
        out.end()


def _entries(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Relative paths of regular files and directories (with a slash behind them), a directory before what is in it."""
    for above, below, names in os.walk(directory):
        below.sort()
        inside = "" if above == directory else above[len(directory) + 1 :] + "/"
        if inside:
            yield inside, os.lstat(above)
        for name in sorted(names):
            status = os.lstat(f"{above}/{name}")
            if stat.S_ISREG(status.st_mode) and not name.endswith(".new") and ".vaf-" not in name:
                yield inside + name, status


def take(reader: wire.Reader, head: dict[str, Any], directory: str) -> None:
    """Put the file or directory that `head` announces below `directory`: whole and proven, or not at all."""
    path, mode, size = _checked(head)
    target = f"{directory}/{path}".rstrip("/")
    os.makedirs(directory, exist_ok=True)
    if path.endswith("/"):
        os.makedirs(target, exist_ok=True)
        for _ in reader.changes():
            raise errors.CopyFailed(source=target, why="a directory came with content")
        return
    fresh = f"{target}.new"
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    os.truncate(fresh, size)
    with blocks.Sink(fresh, size) as sink:
        for change in reader.changes():
            sink.put(change)
        sink.flush()
        sink.prove(reader.digest)
    os.chmod(fresh, mode & 0o777)
    os.replace(fresh, target)
    sync(os.path.dirname(target))


def sync(directory: str) -> None:
    """Make what was renamed in `directory` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _checked(head: dict[str, Any]) -> tuple[str, int, int]:
    path, mode, size = (head.get(key) for key in ("path", "mode", "size"))
    if not (isinstance(path, str) and isinstance(mode, int) and isinstance(size, int) and size >= 0):
        raise errors.CopyFailed(source="a VM directory", why="a header is not one")
    words = path.rstrip("/").split("/")
    if path.startswith("/") or {"", ".", ".."} & set(words) or "\0" in path:
        raise errors.CopyFailed(source="a VM directory", why=f"path {path!r} leads out of it")
    return path, mode, size

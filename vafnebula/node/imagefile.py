"""A disk becomes an image file: under a temporary name beside it, compared, flushed, and then renamed."""

from __future__ import annotations

import os
from functools import partial

from vafnebula import errors
from vafnebula.node import blockcopy
from vafnebula.node.host import Host
from vafnebula.node.undo import Undo

NEW = os.stat_result((0o640, 0, 0, 0, 0, 0, 0, 0, 0, 0))  # the permissions of an image that replaces none


def write(
    host: Host, device: str, size: int, path: str, image_format: str, owner: str, lock_fd: int, like: os.stat_result
) -> None:
    """Write `size` bytes of `device` to `path`, which has its old content, if any, until the new one is proven.

    `owner` makes the temporary name: one action at a time may have it.  Raises ImageMissing, CopyFailed, Interrupted.
    """
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise errors.ImageMissing(path=path, why="its directory is not there")
    fresh = f"{path}.vaf-{owner}"
    with Undo() as undo:
        undo.push(fresh, partial(host.unlink, fresh))
        host.prepare_file(fresh, like)
        blockcopy.save(host, device, size, fresh, image_format, [lock_fd])
        blockcopy.compare(host, fresh, image_format, device, size, [lock_fd])
        host.rename(fresh, path)
        undo.commit()

"""The image datastores: one real GlusterFS volume, served and mounted on the front-end, mounted by every node.

One volume with a directory per datastore, each bound to /var/lib/one/datastores/ID, so that paths are the same
everywhere.  The brick lies in the lab's state directory on the host's disk; all else is in the lab's memory.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from vafnebula import errors
from vafnebula.lab import enter, frontend, state
from vafnebula.lab.errors import LabError
from vafnebula.lab.spec import FRONTEND, GID, INSIDE, UID
from vafnebula.lab.state import Record

VOLUME = "images"
MOUNT = "/mnt/images"
START = 60  # seconds for the daemon, and for each command


def start(record: Record) -> None:
    """Serve the volume and mount it on the front-end.  Raises LabError."""
    try:
        _start(record)
    except errors.CommandFailed as e:
        raise LabError(what="GlusterFS", why=str(e), advice="see whether glusterfs-server is sane") from e


def _start(record: Record) -> None:
    for program in Path("/usr/lib").glob("*/glusterfs/gsyncd"):
        _root(record, "mount", "-n", "--bind", str(INSIDE / "guest/gsyncd"), str(program))
    _root(record, "glusterd", "--log-level", "WARNING")
    end = time.monotonic() + START
    brick = f"{FRONTEND}:{INSIDE}/bricks/{VOLUME}"
    while True:
        create = ["gluster", "--mode=script", "volume", "create", VOLUME, brick, "force"]
        done = enter.run(record.init, create, user="root", env={}, timeout=START, check=False)
        if done.code == 0:
            break
        if time.monotonic() > end or not state.alive(record):
            raise LabError(what="GlusterFS volume", why=done.why, advice="see whether glusterfs-server is sane")
        time.sleep(0.05)
    _root(record, "gluster", "--mode=script", "volume", "start", VOLUME)
    mount = frontend.outside(record.init, MOUNT)
    mount.mkdir()
    _root(record, "mount", "-t", "glusterfs", f"{FRONTEND}:/{VOLUME}", MOUNT)
    for ids in record.spec.images:
        path = mount / str(ids)
        path.mkdir()
        os.chown(path, UID, GID)
        _root(record, "mount", "-n", "--bind", f"{MOUNT}/{ids}", f"/var/lib/one/datastores/{ids}")


def _root(record: Record, *argv: str) -> None:
    enter.run(record.init, argv, user="root", env={}, timeout=START)

"""PID 1 of a lab: builds the lab's root, then waits for the supervisor's end and takes everything with it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from vafnebula import errors
from vafnebula.lab import rootfs, state, supervisor
from vafnebula.lab.spec import Spec


def main(home: Path) -> int:
    spec = Spec.from_json((home / "spec.json").read_text())
    outside = os.open(home.parent, os.O_RDONLY | os.O_DIRECTORY)  # the way back out of the new root
    try:
        rootfs.build(spec, home, rootfs.code_directories())
    except (errors.Error, OSError) as e:
        supervisor.say(f"failed: {errors.one_line(str(e))}")
        return 1
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps orphans
    supervisor.say("ready")
    supervisor.hush()
    os.read(0, 1)
    os.kill(-1, signal.SIGKILL)
    state.remove(Path(f"/proc/self/fd/{outside}/{home.name}"))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

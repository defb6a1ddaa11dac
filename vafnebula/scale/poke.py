"""Wake the scaler: one datagram to its socket, and out.

    python3 -I -S poke.py /run/vafnebula/scale.sock resume vaf-[1-4]

Run by OpenNebula's hooks, Slurm's ResumeProgram and whoever likes.  It never waits and never fails its caller: a
scaler that is not there looks at everything by itself when it comes.  A file of its own, standard library only: it
runs on any machine that sees the socket, and slurmctld's script daemon waits for it.
"""

from __future__ import annotations

import os
import socket
import sys

SOCKET = "/run/vafnebula/scale.sock"
LIMIT = 200
"""Bytes of a datagram that are kept.  They are a hint for the log and trusted by nobody."""


def poke(path: str, *words: str) -> bool:
    """Send `words`; whether there was somebody to hear it."""
    message = " ".join(words).encode(errors="replace")[:LIMIT]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.setblocking(False)
        try:
            bell.sendto(message, path)
        except OSError:  # nobody there, or so many pokes that one more says nothing new
            return False
    return True


def main(argv: list[str]) -> int:
    """SOCKET WORD...; without arguments, the default socket.  Always 0."""
    path = argv[1] if len(argv) > 1 else os.environ.get("VAFNEBULA_SCALE_SOCKET", SOCKET)
    poke(path, *argv[2:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

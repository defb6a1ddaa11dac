"""Script, files and mounts -> the one start script that a guest agent runs.

Written for /bin/sh of any guest.  Everything of the author's is data: text in a quoted here-document, other bytes in
base64, words quoted by shlex.  Run again (one-context does when a NIC is added) it changes nothing that is right
already.
"""

from __future__ import annotations

import base64
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

HOME = "/var/lib/vafnebula"
"""Where the author's script is put in the guest: /run and /tmp may be mounted noexec."""

_HEAD = """#!/bin/sh
# Made by vafnebula: files and mounts of the cluster definition, then the author's script.
set -eu
put() { # put PATH MODE DECODER...: standard input becomes PATH in one step
\tmkdir -p "$(dirname "$1")"
\t"$3" ${4+"$4"} >"$1.vafnebula"
\tchmod "$2" "$1.vafnebula"
\tmv -f "$1.vafnebula" "$1"
}
"""

_ENVIRONMENT = """context=$(mktemp -d)
mount -o ro /dev/disk/by-label/CONTEXT "$context" # cloud-init does not hand the variables on
set -a
. "$context/context.sh"
[ ! -e "$context/token.txt" ] || ONEGATE_TOKEN=$(cat "$context/token.txt")
set +a
umount "$context"
rmdir "$context"
"""

_MOUNTS = """on() { # on SERIAL DIRECTORY: mount the disk there, once it is there
\tn=0
\tuntil [ -e "/dev/disk/by-id/virtio-$1" ]; do
\t\tn=$((n + 1))
\t\tif [ "$n" -gt 50 ]; then
\t\t\techo "vafnebula: there is no disk $1" >&2
\t\t\treturn 1
\t\tfi
\t\tsleep 0.1
\tdone
\tmkdir -p "$2"
\tmountpoint -q "$2" || mount -o noatime "/dev/disk/by-id/virtio-$1" "$2"
}
"""


@dataclass(frozen=True)
class GuestFile:
    """A file in the guest: absolute path, octal mode, content."""

    path: str
    mode: str
    data: bytes


@dataclass(frozen=True)
class Mount:
    """The disk with this serial number, mounted on this directory."""

    serial: str
    directory: str


def start_script(
    agent: str, script: bytes | None, files: Sequence[GuestFile], mounts: Sequence[Mount], home: str = HOME
) -> bytes | None:
    """What `agent` shall run, or None for nothing.

    With one-context, a script without files and mounts is passed on byte for byte.  cloud-init gives a script none
    of the context's variables, so there they are read from the CD first.
    """
    if script is None and not files and not mounts:
        return None
    if agent == "one-context" and not files and not mounts:
        return script
    parts = [_HEAD]
    if agent == "cloud-init":
        parts.append(_ENVIRONMENT)
    if mounts:
        parts.append(_MOUNTS)
        parts += [f"on {shlex.quote(m.serial)} {shlex.quote(m.directory)}\n" for m in mounts]
    parts += [_put(f) for f in files]
    if script is not None:
        own = f"{home}/start-script"
        parts += [_put(GuestFile(own, "0700", script)), f"exec {shlex.quote(own)}\n"]
    return "".join(parts).encode()


def _put(file: GuestFile) -> str:
    text = _text(file.data)
    decoder = "base64 -d" if text is None else "cat"
    if text is None:
        text = "\n".join(textwrap.wrap(base64.b64encode(file.data).decode(), 76)) + "\n"
    end = "END_OF_FILE"
    while end in text:
        end += "_"
    return f"put {shlex.quote(file.path)} {shlex.quote(file.mode)} {decoder} <<'{end}'\n{text}{end}\n"


def _text(data: bytes) -> str | None:
    """The text that a here-document can carry: a quarter smaller than base64, and a person can read it."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return None
    return text if text.endswith("\n") and all(c.isprintable() or c in "\n\t" for c in text) else None

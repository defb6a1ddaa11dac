"""The state hook's program: base64 XML of a VM on stdin -> one poke `vm ID STATE/LCM_STATE`.

It runs for every VM of the site, also those that are none of ours: an interactive VM that starts beside batch VMs
matters too.  So it reads three numbers and nothing else, and never fails.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vafnebula.one import xml
from vafnebula.scale import poke

MOST = 4 * 1024 * 1024


def words(text: bytes) -> tuple[str, ...]:
    """What to poke with for what OpenNebula gave; ('vm',) when that cannot be read."""
    try:
        root = xml.parse(base64.b64decode(text, validate=False))
    except ValueError:
        return ("vm",)
    numbers = [root.findtext(name, "") for name in ("ID", "STATE", "LCM_STATE")]
    if root.tag != "VM" or not all(n.isascii() and n.isdigit() for n in numbers):
        return ("vm",)
    return ("vm", numbers[0], "/".join(numbers[1:]))


def main() -> int:
    where = os.environ.get("VAFNEBULA_SCALE_SOCKET", poke.SOCKET)
    poke.poke(where, *words(sys.stdin.buffer.read(MOST)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`test`: does every value reach the guest?  Grammar, substitution, context.sh, and real programs that read it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vafnebula import process
from vafnebula.context import guest
from vafnebula.context.build import Built
from vafnebula.one import template

SHELLS = ("sh", "dash", "bash")

_SOURCE = 'set -a; . "$1" || exit 9; exec env -0'
_CLOUD_INIT = """
import json, sys
from cloudinit.sources.DataSourceOpenNebula import parse_shell_config
print(json.dumps(parse_shell_config(open(sys.argv[1], encoding="utf-8").read())))
"""


@dataclass(frozen=True)
class Verdict:
    """What program `reader` made of role `role`'s context: `wrong` are the variables that arrived changed."""

    role: str
    reader: str
    checked: int
    wrong: tuple[str, ...] = ()
    skipped: str = ""


def prove(built: Built, given: Mapping[str, str]) -> Iterator[Verdict]:
    """Send `built` all the way, and compare at the end with what went in."""
    text = template.serialize(built.template)
    wrong = () if template.parse(text) == built.template else ("the text does not parse back to the tree",)
    yield Verdict(built.role, "grammar", len(built.template.attributes), wrong)
    from_xml = template.from_xml(template.to_xml(built.template))
    yield Verdict(built.role, "xml", len(from_xml.attributes), () if from_xml == built.template else ("the XML form",))
    wanted = guest.context(template.parse(text), given)
    with tempfile.TemporaryDirectory(prefix="vafnebula-") as directory:
        file = Path(directory) / "context.sh"
        file.write_text(guest.context_sh(wanted), encoding="utf-8", newline="")
        for shell in SHELLS:
            if shutil.which(shell):
                yield _compared(built.role, shell, wanted, sourced(shell, file))
            else:
                yield Verdict(built.role, shell, 0, skipped="not installed here")
        read = cloud_init(file)
        if read is None:
            yield Verdict(built.role, "cloud-init", 0, skipped="not installed here")
        else:
            yield _compared(built.role, "cloud-init", wanted, read)


def sourced(shell: str, file: Path) -> dict[str, str]:
    """The environment of a program that `shell` starts after it read `file` with everything exported."""
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = process.run([shell, "-c", _SOURCE, shell, str(file)], timeout=30, env=path)
    pairs = (entry.partition(b"=") for entry in done.out.split(b"\0") if entry)
    return {key.decode(): value.decode("utf-8", "surrogateescape") for key, _, value in pairs}


def cloud_init(
    file: Path, python: str = "/usr/bin/python3", env: Mapping[str, str] | None = None
) -> dict[str, str] | None:
    """What cloud-init's own parser reads from `file`; None when the package is not installed."""
    done = process.run([python, "-c", _CLOUD_INIT, str(file)], timeout=30, check=False, env=env)
    if done.code != 0:
        return None
    read: dict[str, str] = json.loads(done.out)
    return read


def _compared(role: str, reader: str, wanted: Mapping[str, str], read: Mapping[str, str]) -> Verdict:
    wrong = tuple(name for name, value in sorted(wanted.items()) if read.get(name) != value)
    return Verdict(role, reader, len(wanted), wrong)

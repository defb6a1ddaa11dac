"""The same answers as programs in a directory: qstat, condor_q, ...; the site is a JSON file there."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from tests.fakes.batch import DIALECTS
from vafnebula.scale.model import Job, Node

CHECKOUT = Path(__file__).parents[3]
NAMES = {
    "slurm": ("squeue", "scontrol"),
    "torque": ("qstat", "pbsnodes", "qmgr"),
    "openpbs": ("qstat", "pbsnodes", "qmgr"),
    "htcondor": ("condor_q", "condor_status", "condor_drain", "condor_advertise"),
}


@dataclass
class Filed:
    """A site in a file."""

    system: str
    queue: list[Job] = field(default_factory=list)
    hosts: list[Node] = field(default_factory=list)

    def jobs(self) -> list[Job]:
        return self.queue

    def nodes(self) -> list[Node]:
        return self.hosts

    def drain(self, node: str, note: str) -> bool:
        return self._change(node, draining=True, note=note)

    def undrain(self, node: str) -> bool:
        return self._change(node, draining=False, note="")

    def remove(self, node: str) -> bool:
        before = len(self.hosts)
        self.hosts = [h for h in self.hosts if h.name != node]
        return len(self.hosts) < before

    def _change(self, node: str, *, draining: bool, note: str) -> bool:
        found = [h for h in self.hosts if h.name == node and (draining or h.draining)]
        self.hosts = [replace(h, draining=draining, note=note) if h in found else h for h in self.hosts]
        return bool(found)


FORM = TypeAdapter(Filed)


def install(directory: Path, site: Filed) -> None:
    """The programs of `site.system`, and the site, into `directory`."""
    (directory / "site.json").write_bytes(FORM.dump_json(site))
    for name in NAMES[site.system]:
        program = directory / name
        program.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(CHECKOUT)!r})\n"
            "from tests.fakes.batch.program import main\nsys.exit(main(sys.argv))\n"
        )
        program.chmod(0o755)


def read(directory: Path) -> Filed:
    return FORM.validate_json((directory / "site.json").read_bytes())


def main(argv: list[str]) -> int:
    directory = Path(argv[0]).parent
    site = read(directory)
    text = b"" if os.isatty(0) else sys.stdin.buffer.read()
    code, out, err = DIALECTS[site.system](site, [Path(argv[0]).name, *argv[1:]], text)
    sys.stdout.write(out)
    sys.stderr.write(err)
    (directory / "site.json").write_bytes(FORM.dump_json(site))
    return code

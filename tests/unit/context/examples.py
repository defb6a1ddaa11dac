"""Definitions for tests: a good one, and a way to say where a finding must be."""

from __future__ import annotations

from pathlib import Path

from vafnebula.context import lint, load
from vafnebula.context.findings import Finding, Invalid

GOOD = """\
apiVersion: vafnebula/v1
cluster: {name: c, owner: vaf}
network:
  private: {vnet: prv, mac_class: "02:00:ac:10:01:00/40"}
roles:
  worker:
    image: alma
    nics: [private]
"""


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, newline="")
    return directory / "cluster.yaml"


def findings(path: Path) -> tuple[Finding, ...]:
    try:
        return lint.check(load.load(path))
    except Invalid as e:
        return e.findings


def marked(text: str) -> tuple[str, int, int]:
    """`text` without its mark, and line and column of the mark."""
    before, _, after = text.partition("¤")
    return before + after, before.count("\n") + 1, len(before) - before.rfind("\n")

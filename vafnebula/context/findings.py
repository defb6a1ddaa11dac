"""What is wrong with a definition: findings, and how they are shown to people, editors and CI."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from vafnebula import __version__, errors
from vafnebula.context.rules import RULES
from vafnebula.context.source import Mark

FORMATS = ("text", "json", "sarif")


@dataclass(frozen=True)
class Finding:
    """One violation of rule `id` at `mark`.  `message` says what is wrong here; `fix` what to do.

    `secret` keeps the source line out of every output; `severity` overrides the rule's level.
    """

    id: str
    mark: Mark
    message: str
    fix: str = ""
    secret: bool = False
    severity: str = ""

    @property
    def level(self) -> str:
        """error or warning."""
        return self.severity or RULES[self.id].level

    @property
    def advice(self) -> str:
        return self.fix or RULES[self.id].fix

    def text(self) -> str:
        shown = "    (the line is not shown: it may hold a secret)" if self.secret else self.mark.shown()
        return f"{self.mark}: {self.level}: {self.id}: {self.message}\n{shown}\n    fix: {self.advice}"


class Invalid(errors.RequestError):
    """A definition that cannot be used; `findings` say why, in the order of the file."""

    sentence = "{path} has {count} findings; see `vafnebula context validate {path}`"

    def __init__(self, path: str, findings: Iterable[Finding]) -> None:
        self.findings = ordered(findings)
        super().__init__(path=path, count=len(self.findings))


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By place, each once."""
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda f: (f.mark.source.name, f.mark.line, f.mark.column, f.id)))


def show(findings: Iterable[Finding], format: str) -> str:
    """The findings as text (with carets), as one JSON array, or as SARIF 2.1.0."""
    every = ordered(findings)
    if format == "json":
        return json.dumps([_plain(f) for f in every], indent=2) + "\n"
    if format == "sarif":
        return json.dumps(_sarif(every), indent=2) + "\n"
    return "".join(f.text() + "\n" for f in every)


def _plain(finding: Finding) -> dict[str, object]:
    mark = finding.mark
    return {
        "id": finding.id,
        "level": finding.level,
        "file": mark.source.name,
        "line": mark.line,
        "column": mark.column,
        "message": finding.message,
        "fix": finding.advice,
    }


def _sarif(findings: tuple[Finding, ...]) -> dict[str, object]:
    rules = [
        {"id": r.id, "shortDescription": {"text": r.title}, "help": {"text": r.fix}}
        for r in RULES.values()
        if any(f.id == r.id for f in findings)
    ]
    driver = {"name": "vafnebula", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(f) for f in findings]}
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _result(finding: Finding) -> dict[str, object]:
    mark = finding.mark
    place = {
        "artifactLocation": {"uri": mark.source.name},
        "region": {"startLine": mark.line, "startColumn": mark.column},
    }
    return {
        "ruleId": finding.id,
        "level": finding.level,
        "message": {"text": f"{finding.message}; {finding.advice}"},
        "locations": [{"physicalLocation": place}],
    }

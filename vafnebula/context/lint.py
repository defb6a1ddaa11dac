"""The rules, applied to a loaded definition: structure first, then each role as it would be rendered."""

from __future__ import annotations

from collections.abc import Iterator

from vafnebula.context import lint_names, lint_scripts, lint_structure, lint_values
from vafnebula.context.build import Built, build
from vafnebula.context.findings import Finding, Invalid, ordered
from vafnebula.context.load import Loaded
from vafnebula.context.source import Mark
from vafnebula.one import template


def check(loaded: Loaded) -> tuple[Finding, ...]:
    """All findings, in the order of the files."""
    found = [*lint_structure.check(loaded), *lint_names.check(loaded)]
    for role in loaded.definition.roles:
        found += _role(loaded, role)
    return ordered(found)


def counting(findings: tuple[Finding, ...], strict: bool) -> list[Finding]:
    """Those that make a definition unusable: errors, and with `strict` warnings too."""
    return [f for f in findings if strict or f.level == "error"]


def _role(loaded: Loaded, role: str) -> list[Finding]:
    try:
        built = build(loaded, role)
    except Invalid as e:
        return list(e.findings)
    found = [*lint_values.check(loaded, built), *lint_scripts.check(loaded, built)]
    return found or list(_round_trip(built, loaded.positions.key("roles", role)))


def _round_trip(built: Built, mark: Mark) -> Iterator[Finding]:
    """T001: what OpenNebula would read is what was meant."""
    try:
        if template.parse(template.serialize(built.template)) != built.template:
            yield Finding("T001", mark, f"the template of role {built.role} does not parse back to itself")
    except (template.Unwritable, template.Malformed) as e:
        yield Finding("T001", mark, f"the template of role {built.role} cannot be written: {e}")

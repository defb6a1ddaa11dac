"""The one table of LVM's (and sudo's) error texts and what they mean.

Taken from runs of lvm2 2.03.16; first match wins.  A text that no line knows becomes CommandFailed with LVM's own
words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vafnebula import errors, names, process

_Make = Callable[[str, str, str], errors.Error]  # program, vg, the name the text gives (or "")

# sudo warns about a host name or a limit that it cannot set, and then does what was asked.
NO_RULE = r"^sudo: (?!unable to resolve|setrlimit)|not allowed to (?:execute|run)|may not run sudo|not in the sudoers"

TABLE: tuple[tuple[str, _Make], ...] = (
    (NO_RULE, lambda program, vg, _: errors.SudoRefused(program=program)),
    (
        r'Volume group "?([\w.+-]+)"? (?:is )?not found',
        lambda program, vg, name: errors.NoVolumeGroup(vg=name),
    ),
    (
        r'[Ll]ogical [Vv]olume "?([\w./+-]+?)"? already exists',
        lambda program, vg, name: errors.VolumeExists(volume=name, vg=vg),
    ),
    (
        r"(?:[Pp]ool|[Tt]hin pool) (\S+) not found",
        lambda program, vg, name: errors.NoThinPool(vg=vg, name=names.THIN_POOL, why="it does not exist"),
    ),
    (
        r"free space in (?:thin )?pool \S+ reached threshold|[Ff]ree (?:meta)?data in .*pool|above threshold",
        lambda program, vg, _: errors.NoRoom(
            where=f"thin pool of {vg}", wanted="a volume", free="nothing below pool_limit"
        ),
    ),
    (
        r"[Ii]nsufficient (?:suitable )?(?:allocatable |free )(?:extents|space)|has no free extents",
        lambda program, vg, _: errors.NoRoom(where=vg, wanted="a volume", free="not enough"),
    ),
    (
        r'(?:LV|[Ll]ogical volume) "?([\w./+-]+?)"?(?: not found in)|Failed to find logical volume "([^"]+)"',
        lambda program, vg, name: errors.NotFound(what=f"volume {name}", advice="it was removed meanwhile, retry"),
    ),
    (
        r"(?:[Ll]ogical volume|LV) (\S+) (?:is )?(?:in use|contains a filesystem in use|is used by)|resource busy",
        lambda program, vg, name: errors.Busy(what=f"volume {name or vg}", why="something has it open"),
    ),
)


def refusal(program: str, done: process.Completed) -> errors.Error:
    """SudoRefused when a failed command was sudo's refusal, else CommandFailed."""
    if re.search(NO_RULE, done.err.decode(errors="replace"), re.MULTILINE):
        return errors.SudoRefused(program=program)
    return errors.CommandFailed(program=program, code=done.code, why=done.why)


def explain(program: str, vg: str, done: process.Completed) -> errors.Error:
    """The error that the text of a failed command stands for."""
    said = done.err.decode(errors="replace")
    for pattern, make in TABLE:
        found = re.search(pattern, said, re.MULTILINE)
        if found:
            return make(program, vg, next((g for g in found.groups() if g), ""))
    return errors.CommandFailed(program=program, code=done.code, why=done.why)

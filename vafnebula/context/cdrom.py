"""`iso`: the context CD, made by the same programs with the same options as OpenNebula's own script context."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from vafnebula import errors, process
from vafnebula.context import guest
from vafnebula.context.build import Built

PROGRAMS = {"xorriso": ("-as", "mkisofs"), "genisoimage": (), "mkisofs": ()}


class NoProgram(errors.SiteError):
    """None of the programs that can write an ISO 9660 image is installed."""

    sentence = "none of {programs} is installed; install one of them (Debian: apt install xorriso)"


class NotWritten(errors.SiteError):
    """The image could not be made or put where it shall be."""

    sentence = "{path} was not written with {program}: {why}; is there room, and may you write there?"


def write(built: Built, target: Path, given: Mapping[str, str]) -> None:
    """Make `target` the CD of a VM of `built`.  Raises NoProgram, NotWritten."""
    program = next((p for p in PROGRAMS if shutil.which(p)), None)
    if program is None:
        raise NoProgram(programs=", ".join(PROGRAMS))
    with tempfile.TemporaryDirectory(prefix="vafnebula-") as directory:
        content, made = Path(directory) / "content", Path(directory) / "context.iso"
        content.mkdir()
        text = guest.context_sh(guest.context(built.template, given))
        (content / "context.sh").write_text(text, encoding="utf-8", newline="")
        options = [*PROGRAMS[program], "-o", str(made), "-V", "CONTEXT", "-J", "-R", str(content)]
        done = process.run([program, *options], timeout=60, check=False)
        try:
            if done.code == 0:
                shutil.copyfile(made, target)
                return
            why = done.why
        except OSError as e:
            why = str(e.strerror)
        raise NotWritten(path=target, program=program, why=why)

"""Write the man pages beside this file, from the command line's own help: `.venv/bin/python docs/man/make.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

from vafnebula import __version__
from vafnebula.cli import main

DATE = "November 2026"  # of the release


def write(directory: Path) -> None:
    """Write a page per command into `directory`; pages of commands that are no more go."""
    for page in directory.glob("*.1"):
        page.unlink()
    context = click.Context(main)
    for name in main.list_commands(context):
        main.add_command(main.get_command(context, name), name)
    write_man_pages("vafnebula", main, version=__version__, target_dir=str(directory), date=DATE)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

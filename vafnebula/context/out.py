"""`render`: the files of a rendered definition."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vafnebula import errors
from vafnebula.context import service
from vafnebula.context.build import build
from vafnebula.context.load import Loaded
from vafnebula.one import template


def files(loaded: Loaded, roles: tuple[str, ...], target: str, ids: Mapping[str, int]) -> dict[str, str]:
    """Name -> text: `<role>.one` for each of `roles` (all for none), and then `service.json` too."""
    wanted = roles or tuple(loaded.definition.roles)
    rendered = {f"{role}.one": template.serialize(build(loaded, role).template) for role in wanted}
    if not roles:
        rendered["service.json"] = service.text(service.service(loaded.definition, target, ids))
    return rendered


def write(directory: Path, rendered: Mapping[str, bytes]) -> None:
    """Write each file in one step.  Raises BadArgument."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in rendered.items():
            temporary = directory / f".{name}.new"
            temporary.write_bytes(content)
            os.replace(temporary, directory / name)  # noqa: PTH105  what it does is the point
    except OSError as e:
        raise errors.BadArgument(what="directory", value=os.fspath(directory), why=str(e.strerror)) from e

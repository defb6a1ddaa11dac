"""The site file: INI, one `[storage]` section, and `[storage <SDS>]` sections that override it per system datastore.

    /var/lib/one/remotes/etc/vafnebula/vafnebula.conf

`OPTIONS` is the documentation: every key with its default, its meaning and what it accepts.  An unknown key or a
value out of range is an error that names the file and the nearest valid key.
"""

from __future__ import annotations

import configparser
import difflib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Callable

from vafnebula import errors, units
from vafnebula.model import Settings
from vafnebula.values import absolute, choice, number, yes_no

PATH = "/var/lib/one/remotes/etc/vafnebula/vafnebula.conf"


def _chunk(text: str) -> int:
    size = number(4, 512)(text) * units.KIB
    if size & (size - 1):
        raise ValueError("must be a power of two")
    return size


def _word(text: str) -> str:
    if not all(c.isalnum() or c in "._-" for c in text):
        raise ValueError("must be a host name")
    return text


@dataclass(frozen=True)
class Option:
    parse: Callable[[str], object]
    meaning: str


OPTIONS: dict[str, Option] = {
    "mode": Option(choice("thin", "thick"), "thin pool, or classic snapshots as in the 2012 paper"),
    "cow_chunk": Option(_chunk, "thick: KiB per copy-on-write chunk, a power of two from 4 to 512"),
    "cow_percent": Option(number(5, 100), "thick: room for changes, in % of the disk; 100 can never overflow"),
    "pool_limit": Option(number(50, 100), "thin: no new volume when the pool is fuller than this %"),
    "metadata_limit": Option(
        number(10, 100), "thin: no fill, disk snapshot or backup when the pool's metadata are fuller than this %"
    ),
    "overcommit": Option(number(1, 10_000), "thin: the scheduler may place disks up to this % of the pool's size"),
    "cache_min_age": Option(number(0, 31_536_000), "seconds since its last use before a cached image may be evicted"),
    "verify": Option(yes_no, "read every filled origin back and compare it with the image"),
    "copy_streams": Option(number(1, 8), "reads in flight while an image is copied"),
    "dead_source": Option(choice("refuse", "recreate"), "disks of a host that is taken for dead, in a migration"),
    "lock_wait": Option(number(1, 86_400), "seconds an action waits for another on the same disk"),
    "lock_dir": Option(absolute, "directory of the lock files on the nodes"),
}
FRONTEND: dict[str, Option] = {
    "remote_dir": Option(absolute, "SCRIPTS_REMOTE_DIR of oned.conf"),
    "python": Option(absolute, "the nodes' Python interpreter, 3.9 or newer"),
    "api_timeout": Option(number(1, 600), "seconds for one answer of OpenNebula's API"),
    "connect_timeout": Option(number(1, 600), "seconds for ssh to reach a node"),
    "name": Option(_word, "HOSTNAME of oned.conf, where it is set; else the machine's own name counts"),
}


@dataclass(frozen=True)
class Site:
    """The site file, parsed.  `storage(sds)` gives the settings that hold for a system datastore."""

    default: Settings = field(default_factory=Settings)
    per_sds: dict[int, Settings] = field(default_factory=dict)
    name: str = ""
    remote_dir: str = "/var/tmp/one"  # noqa: S108  OpenNebula's own default
    python: str = "/usr/bin/python3"
    api_timeout: int = 30
    connect_timeout: int = 10

    def storage(self, sds: int) -> Settings:
        return self.per_sds.get(sds, self.default)


def load(path: str = PATH) -> Site:
    """Read the site file; a missing file means all defaults.  Raises BadConfig."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Site()
    except (OSError, UnicodeDecodeError) as e:
        raise errors.BadConfig(path=path, why=f"cannot be read ({e})") from e
    return parse(text, path)


def parse(text: str, path: str = PATH) -> Site:
    """Parse the site file's text.  Raises BadConfig naming `path`, the section and the nearest valid key."""
    ini = configparser.ConfigParser(interpolation=None, default_section="", delimiters=("=",))
    try:
        ini.read_string(text)
    except configparser.Error as e:
        raise errors.BadConfig(path=path, why=str(e).splitlines()[0]) from e
    site = Site()
    for section in sorted(ini.sections(), key=lambda s: (s.count(" "), s)):
        values = dict(ini[section])
        if section == "frontend":
            site = replace(site, **_values(path, section, values, FRONTEND))
        elif section == "storage":
            site = replace(site, default=replace(site.default, **_values(path, section, values, OPTIONS)))
        elif section.startswith("storage ") and _is_id(section[8:]):
            own = replace(site.default, **_values(path, section, values, OPTIONS))
            site = replace(site, per_sds={**site.per_sds, int(section[8:]): own})
        elif section != "net":  # [net] is read on the nodes: vafnebula/node/isolation/settings.py
            raise errors.BadConfig(
                path=path,
                why=f"unknown section [{section}]; there are [frontend], [net], [storage], [storage ID]",
            )
    return site


def _is_id(text: str) -> bool:
    """A plain decimal number without leading zeros: two sections for one datastore would hide one of them."""
    return text.isascii() and text.isdigit() and text == str(int(text))


def _values(path: str, section: str, values: dict[str, str], known: dict[str, Option]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, text in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise errors.BadConfig(path=path, why=f"[{section}] has an unknown key {key}{hint}")
        try:
            out[key] = known[key].parse(text.strip())
        except ValueError as e:
            raise errors.BadConfig(path=path, why=f"[{section}] {key} = {text}: {e}") from e
    return out


assert set(OPTIONS) == {f.name for f in fields(Settings)}, "every setting is documented, and only those"

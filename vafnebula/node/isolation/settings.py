"""The [net] section of the site file, as the node sees it.

    <SCRIPTS_REMOTE_DIR>/etc/vafnebula/vafnebula.conf

`OPTIONS` is the documentation: every key with its default, its meaning and what it accepts.  A value that cannot be
understood stops `pre`: rules nobody intended are worse than a VM that does not start.
"""

from __future__ import annotations

from vafnebula import errors
from vafnebula.node.isolation import mac
from vafnebula.node.isolation.record import as_dict, record, replace
from vafnebula.values import absolute, choice, number, yes_no

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@record
class Settings:
    """What the admin decides for all networks."""

    backend: str = "nft"
    mode: str = "enforce"
    min_prefix: int = 24
    max_entries: int = 256
    addresses: str = "auto"
    onegate: tuple[int, ...] = (0xA9FE1009,)
    allowed_macs: str = "/etc/vafnebula/allowed-macs"
    port_flags: bool = True
    state_dir: str = "/var/lock/one/vafnebula-net"
    orphan_age: int = 3600
    tap_wait: int = 3


def _ipv4s(text: str) -> tuple[int, ...]:
    try:
        return tuple(mac.parse_ipv4("address", word) for word in text.replace(",", " ").split())
    except errors.BadArgument as e:
        raise ValueError(str(e)) from e


OPTIONS: dict[str, tuple[Callable[[str], object], str]] = {
    "backend": (choice("nft", "ebtables"), "nft, or ebtables (nft flavour) as in the 2012 paper"),
    "mode": (choice("enforce", "observe"), "enforce drops; observe has the same rules but only counts"),
    "min_prefix": (number(8, 48), "bits that every class or white-list entry must fix at least"),
    "max_entries": (number(1, 4096), "entries that one VAF_* list may have at most"),
    "addresses": (
        choice("auto", "strict", "off"),
        "check ARP and ND addresses: auto for NICs with FILTER_IP_SPOOFING=YES, strict for all with addresses, off",
    ),
    "onegate": (_ipv4s, "addresses of OneGate's transparent proxy, exempt from the peer check; empty: none"),
    "allowed_macs": (absolute, "file on the node with the only MAC prefixes that VAF_* may name; absent: no limit"),
    "port_flags": (yes_no, "set learning off, locked and static FDB entries on taps where sudo allows"),
    "state_dir": (absolute, "directory on the node that remembers which NICs to filter; may vanish at reboot"),
    "orphan_age": (number(60, 604_800), "seconds that a NIC without tap is kept by reconcile"),
    "tap_wait": (number(0, 60), "seconds that post waits for the tap"),
}


def read(values: Mapping[str, str], path: str) -> Settings:
    """Settings from the keys and values of [net].  Raises BadConfig naming `path`."""
    out: dict[str, Any] = {}
    for key, text in values.items():
        if key not in OPTIONS:
            raise errors.BadConfig(path=path, why=f"[net] has an unknown key {key}; {_nearest(key)}")
        try:
            out[key] = OPTIONS[key][0](text.strip())
        except ValueError as e:
            raise errors.BadConfig(path=path, why=f"[net] {key} = {text}: {e}") from e
    return replace(Settings(), **out)


def _nearest(key: str) -> str:
    import difflib  # only when something is wrong

    near = difflib.get_close_matches(key, OPTIONS, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(OPTIONS)}"


def load(path: str) -> Settings:
    """The [net] section of the site file at `path`; a missing file means all defaults.  Raises BadConfig.

    Reads only what it needs of the INI grammar that config.py accepts (configparser costs 15 ms): sections, `key =
    value`, whole-line comments.  The front-end checks the whole file.
    """
    try:
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines()
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as e:
        raise errors.BadConfig(path=path, why=f"cannot be read ({e})") from e
    section = ""
    values: dict[str, str] = {}
    for line in (raw.strip() for raw in lines):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == "net" and line and line[0] not in "#;":
            key, equals, value = line.partition("=")
            if not equals:
                raise errors.BadConfig(path=path, why=f"[net] has a line without `=`: {line}")
            values[key.strip().lower()] = value.strip()
    return read(values, path)


def is_name(text: str) -> bool:
    """Whether `text` can be a network interface: 1 to 15 letters, digits, dots, dashes and underscores."""
    return 0 < len(text) <= 15 and not set(text) - NAME_CHARACTERS and text not in (".", "..") and text[0] != "-"


assert set(OPTIONS) == set(as_dict(Settings())), "every setting is documented, and only those"

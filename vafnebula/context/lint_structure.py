"""Rules about how the parts of a definition refer to each other: R302 and N401."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vafnebula.context.build import agent
from vafnebula.context.definition import Network, Role, Scratch
from vafnebula.context.findings import Finding
from vafnebula.context.load import Loaded
from vafnebula.context.source import Mark

NARROWEST, WIDEST = 47, 24
"""Bits of a MAC class: below 24 it spans vendors, at 48 it is one machine."""


def check(loaded: Loaded) -> Iterator[Finding]:
    definition = loaded.definition
    for name, role in definition.roles.items():
        yield from _role(loaded, name, role)
    yield from _cycle(loaded)
    if definition.defaults.offering and definition.defaults.offering not in definition.offerings:
        yield _reference(loaded.positions.value("defaults", "offering"), "offering", definition.defaults.offering)
    for name, asked in definition.inputs.items():
        mark = loaded.positions.key("inputs", name)
        if (asked.type == "choice") != bool(asked.options):
            yield Finding("R302", mark, f"input {name}: `options` and type choice go together")
        elif asked.options and asked.default is not None and asked.default not in asked.options:
            yield Finding("R302", mark, f"input {name}: the default {asked.default!r} is not among the options")
    for name, network in definition.network.items():
        yield from _network(loaded, name, network)


def _reference(mark: Mark, what: str, name: str) -> Finding:
    return Finding("R302", mark, f"there is no {what} {name!r}")


def _role(loaded: Loaded, name: str, role: Role) -> Iterator[Finding]:
    definition, place = loaded.definition, loaded.positions.value
    here = ("roles", name)
    count = role.count
    if count.min > count.default or (count.max is not None and count.default > count.max):
        top = "no limit" if count.max is None else count.max
        message = f"count must be min <= default <= max, not {count.min}, {count.default}, {top}"
        yield Finding("R302", place(*here, "count"), message)
    if role.offering and role.offering not in definition.offerings:
        yield _reference(place(*here, "offering"), "offering", role.offering)
    for i, nic in enumerate(role.nics):
        if nic.network not in definition.network:
            yield _reference(place(*here, "nics", i), "network", nic.network)
    for i, parent in enumerate(role.depends_on):
        if parent not in definition.roles:
            yield _reference(place(*here, "depends_on", i), "role", parent)
    if not (role.image or definition.defaults.image):
        yield Finding("R302", loaded.positions.key(*here), f"role {name} has no image, and there is no default one")
    yield from _disks(loaded, name, role)
    script = role.context.script
    if script is not None and (script.source is None) == (script.text is None):
        yield Finding("R302", place(*here, "context", "script"), "a script has either `source` or `text`")
    if role.context.report_ready and not role.context.token:
        mark = place(*here, "context", "report_ready")
        yield Finding("R302", mark, "report_ready without `token: true`: the guest could not tell OneGate")
    if role.context.report_ready and agent(loaded, role) == "cloud-init":
        mark = place(*here, "context", "report_ready")
        yield Finding("R302", mark, "report_ready with cloud-init, which reports nothing")


def _disks(loaded: Loaded, name: str, role: Role) -> Iterator[Finding]:
    serials: set[str] = set()
    for i, disk in enumerate(role.disks):
        if isinstance(disk, Scratch):
            if disk.serial in serials:
                mark = loaded.positions.value("roles", name, "disks", i)
                yield Finding("R302", mark, f"two disks with serial {disk.serial!r}")
            serials.add(disk.serial)


def _cycle(loaded: Loaded) -> Iterator[Finding]:
    roles = loaded.definition.roles
    for name, role in roles.items():
        if name in _ancestors(roles, name):
            mark = loaded.positions.value("roles", name, "depends_on")
            yield Finding("R302", mark, f"role {name} depends on itself, through {', '.join(role.depends_on)}")


def _ancestors(roles: Mapping[str, Role], name: str) -> set[str]:
    found: set[str] = set()
    waiting = list(roles[name].depends_on)
    while waiting:
        parent = waiting.pop()
        if parent not in found and parent in roles:
            found.add(parent)
            waiting += roles[parent].depends_on
    return found


def _network(loaded: Loaded, name: str, network: Network) -> Iterator[Finding]:
    if network.mac_class is None:
        yield Finding("N401", loaded.positions.key("network", name), f"network {name} has no mac_class")
        return
    mark = loaded.positions.value("network", name, "mac_class")
    prefix, _, text = network.mac_class.partition("/")
    bits = int(text)
    if not WIDEST <= bits <= NARROWEST:
        message = f"a class of {bits} bits: {WIDEST} to {NARROWEST} are sane"
        yield Finding("N401", mark, message, severity="error")
        return
    if int(prefix[:2], 16) & 1:
        yield Finding("N401", mark, "the class holds multicast addresses", severity="error")
    for i, peer in enumerate(network.extra_peers):
        if _number(peer) >> (48 - bits) == _number(prefix) >> (48 - bits):
            place = loaded.positions.value("network", name, "extra_peers", i)
            yield Finding("N401", place, f"{peer} is a member of the class itself", severity="error")


def _number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)

"""Rules about names of variables and attributes, and about `raw`: T003, T004, C105, C106, S202, S203, R303."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vafnebula.context.findings import Finding
from vafnebula.context.load import Loaded
from vafnebula.context.source import Mark
from vafnebula.one import template
from vafnebula.one.template import Attribute, Vector

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")

_RESERVED = """
PATH IFS HOME SHELL USER LOGNAME ENV BASH_ENV PS1 PS2 PS4 UID EUID PPID PWD OLDPWD SHELLOPTS BASHOPTS MOUNT_DIR TMP_DIR
SCRIPTS_DIR CONTEXT_FILE LANG TMPDIR CDPATH OPTIND OPTARG RANDOM SECONDS LINENO PYTHONPATH PYTHONHOME PYTHONSTARTUP
PERL5LIB PERL5OPT RUBYLIB RUBYOPT
"""
RESERVED = frozenset(_RESERVED.split())
RESERVED_PREFIXES = ("LD_", "LC_", "BASH_", "ETH")

_AGENTS = """
START_SCRIPT START_SCRIPT_BASE64 USER_DATA USERDATA USER_DATA_ENCODING USERDATA_ENCODING INIT_SCRIPTS READY_SCRIPT
READY_SCRIPT_PATH FILES_DS
"""
AGENTS = frozenset(_AGENTS.split())

RESTRICTED = frozenset({"DEPLOY_ID", "CPU_COST", "MEMORY_COST", "DISK_COST", "PCI", "EMULATOR", "USER_PRIORITY"})
RESTRICTED_IN = {
    "RAW": frozenset({"DATA"}),
    "TOPOLOGY": frozenset({"PIN_POLICY", "HUGEPAGE_SIZE"}),
    "NIC_DEFAULT": frozenset(
        {"MAC", "VLAN_ID", "BRIDGE", "FILTER", "EXTERNAL", "VAF_MAC_CLASS", "VAF_EXTRA_MACS", "VAF_EXTRA_SRC_MACS"}
    ),
}
"""oned.conf's VM_RESTRICTED_ATTR (7.4), as far as `raw` can set them, and ours."""

OURS = frozenset({"CONTEXT", "DISK", "NIC", "USER_INPUTS"})


def check(loaded: Loaded) -> Iterator[Finding]:
    for role in loaded.definition.roles:
        yield from _variables(loaded, role)
        yield from _raw(loaded, role)
    for section, names in (("inputs", loaded.definition.inputs), ("secrets", loaded.definition.secrets)):
        for name in names:
            yield from _variable(name, loaded.positions.key(section, name))


def _variables(loaded: Loaded, role: str) -> Iterator[Finding]:
    definition = loaded.definition
    context = definition.roles[role].context
    where: dict[str, str] = dict.fromkeys(definition.inputs, "inputs") | dict.fromkeys(definition.secrets, "secrets")
    for name in definition.inputs.keys() & definition.secrets.keys():
        yield Finding("T003", loaded.positions.key("secrets", name), f"{name} is an input already")
    flags = {"network": "NETWORK", "token": "TOKEN", "report_ready": "REPORT_READY", "ssh_keys": "SSH_PUBLIC_KEY"}
    where |= {variable: flag for flag, variable in flags.items() if flag != "ssh_keys" or context.ssh_keys}
    for section, names in (("vars", context.vars), ("late", context.late), ("payload", context.payload)):
        for name in names:
            mark = loaded.positions.key("roles", role, "context", section, name)
            yield from _variable(name, mark)
            written = f"{name}_BASE64" if section == "payload" else name
            if written in where:
                yield Finding("T003", mark, f"{written} is set by `{where[written]}` already")
            where[written] = section


def _variable(name: str, mark: Mark) -> Iterator[Finding]:
    if not _NAME.fullmatch(name):
        yield Finding("T003", mark, f"{name!r} is no name of a variable")
    elif name in RESERVED or name.startswith(RESERVED_PREFIXES):
        yield Finding("C105", mark, f"{name} has a meaning for shells, programs or the guest agent")
    elif name in AGENTS:
        yield Finding("C106", mark, f"{name} is written by vafnebula, as the image's guest agent needs it")
    elif name == "FILES":
        yield Finding("S202", mark, "FILES names paths on the front-end")


def _raw(loaded: Loaded, role: str) -> Iterator[Finding]:
    text = loaded.definition.roles[role].raw
    if not text:
        return
    mark = loaded.positions.value("roles", role, "raw")
    try:
        attributes = template.parse(text).attributes
        template.check(template.Template(attributes))
    except template.Malformed as e:
        yield Finding("T004", mark.inside(e.line, e.column), e.why)
        return
    except template.Unwritable as e:
        yield Finding("T004", mark, str(e))
        return
    set_here = {"CPU", "VCPU", "MEMORY", "DESCRIPTION", "VAF_CLUSTER", "VAF_ROLE", "VAF_SPEC_SHA256", *OURS}
    for attribute in attributes:
        place = _place(mark, text, attribute.name)
        if attribute.name in set_here:
            yield Finding("T004", place, f"{attribute.name} is the definition's to set")
        yield from _restricted(loaded, attribute, place)
        if attribute.name.startswith("VAF_EXTRA") and loaded.definition.roles[role].context.token:
            yield Finding("S203", place, f"{attribute.name} in a VM that can rewrite it with its OneGate token")


def _place(mark: Mark, text: str, name: str) -> Mark:
    found = re.search(rf"(?mi)^[ \t]*({re.escape(name)})[ \t]*=", text)
    return mark.at(text, found.start(1)) if found else mark


def _restricted(loaded: Loaded, attribute: Attribute, place: Mark) -> Iterator[Finding]:
    if loaded.definition.cluster.owner == "oneadmin":
        return
    keys = {key for key, _ in attribute.items} if isinstance(attribute, Vector) else set()
    bad = sorted(keys & RESTRICTED_IN.get(attribute.name, frozenset()))
    for what in [attribute.name] if attribute.name in RESTRICTED else [f"{attribute.name}/{key}" for key in bad]:
        owner = loaded.definition.cluster.owner
        yield Finding("R303", place, f"{what} is restricted, and {owner} is no administrator")

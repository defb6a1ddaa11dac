"""A role of a definition -> its VM template as a typed tree, and for every value where it comes from."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vafnebula import units
from vafnebula.context import pack, scripts
from vafnebula.context.definition import Data, Role, Scratch, Swap
from vafnebula.context.load import Loaded
from vafnebula.context.scripts import Content
from vafnebula.context.source import Mark
from vafnebula.one import template
from vafnebula.one.template import Attribute, Single, Template

SPEC = "VAF_SPEC_SHA256"
"""The template attribute that says which rendering a VM was made from."""


@dataclass(frozen=True)
class Part:
    """One value of a template: attribute, its number among equal names, key ('' for a single), value.

    `how` is literal, late, payload, default, raw, or made (by vafnebula, of other values); `mark` is where it was
    written, None for a default that nobody wrote.
    """

    attribute: str
    number: int
    key: str
    value: str
    how: str
    mark: Mark | None = None

    @property
    def path(self) -> str:
        name = f"{self.attribute}.{self.number}" if self.number else self.attribute
        return f"{name}.{self.key}" if self.key else name


@dataclass(frozen=True)
class Built:
    """Role `role` as a template `name`; `parts` say where each value is from, `contents` what the author wrote."""

    role: str
    name: str
    agent: str
    template: Template
    parts: tuple[Part, ...]
    contents: Mapping[str, Content]


def build(loaded: Loaded, role: str) -> Built:
    """The template of `role`.  Raises Invalid when a file of it cannot be used."""
    return _Builder(loaded, role).build()


def build_all(loaded: Loaded) -> tuple[Built, ...]:
    """All roles, in the order of the definition."""
    return tuple(build(loaded, role) for role in loaded.definition.roles)


def agent(loaded: Loaded, role: Role) -> str:
    return role.agent or loaded.definition.defaults.agent or "one-context"


def spec(tree: Template) -> str:
    """The fingerprint of a template, without the fingerprint in it."""
    rest = tuple(a for a in tree.attributes if a.name != SPEC)
    return hashlib.sha256(repr(rest).encode()).hexdigest()


class _Builder:
    def __init__(self, loaded: Loaded, name: str) -> None:
        self.loaded, self.name = loaded, name
        self.definition = loaded.definition
        self.role = loaded.definition.roles[name]
        self.agent = agent(loaded, self.role)
        self.parts: list[Part] = []
        self.contents: dict[str, Content] = {}

    def build(self) -> Built:
        self._machine()
        self._disks()
        self._nics()
        self._context()
        self._questions()
        self._single("VAF_CLUSTER", self.definition.cluster.name, "made", self._at("cluster", "name"))
        self._single("VAF_ROLE", self.name, "made", self.loaded.positions.key("roles", self.name))
        if self.definition.cluster.description:
            text = self.definition.cluster.description
            self._single("DESCRIPTION", text, "literal", self._at("cluster", "description"))
        tree = Template((*_tree(self.parts).attributes, *self._raw()))
        tree = Template((*tree.attributes, Single(SPEC, spec(tree))))
        name = f"{self.definition.cluster.name}-{self.name}"
        return Built(self.name, name, self.agent, tree, tuple(self.parts), self.contents)

    def _at(self, *path: str | int) -> Mark:
        return self.loaded.positions.value(*path)

    def _here(self, *path: str | int) -> Mark:
        return self._at("roles", self.name, *path)

    def _single(self, name: str, value: str, how: str, mark: Mark | None) -> None:
        self.parts.append(Part(name, 0, "", value, how, mark))

    def _vector(self, name: str, number: int, values: Iterable[tuple[str, str, str, Mark | None]]) -> None:
        self.parts += [Part(name, number, key, value, how, mark) for key, value, how, mark in sorted(values, key=_key)]

    def _setting(self, name: str) -> tuple[Any, str, Mark | None]:
        """A size of the machine: the role's own, its offering's, the defaults', the defaults' offering's, ours."""
        places: list[tuple[Any, tuple[str | int, ...]]] = [(self.role, ("roles", self.name))]
        if self.role.offering:
            places.append((self.definition.offerings.get(self.role.offering), ("offerings", self.role.offering)))
        defaults = self.definition.defaults
        places.append((defaults, ("defaults",)))
        if defaults.offering:
            places.append((self.definition.offerings.get(defaults.offering), ("offerings", defaults.offering)))
        for holder, path in places:
            value = getattr(holder, name, None)
            if value is not None:
                written = (*path, name) in self.loaded.positions.values
                return value, "literal" if written else "default", self._at(*path, name) if written else None
        return {"cpu": 1.0, "memory": units.GIB}.get(name), "default", None

    def _machine(self) -> None:
        for name in ("cpu", "vcpu", "memory"):
            value, how, mark = self._setting(name)
            if value is not None:
                text = str(value // units.MIB) if name == "memory" else f"{value:g}"
                self._single(name.upper(), text, how, mark)

    def _disks(self) -> None:
        image, how, mark = self._setting("image")
        number = 0
        if image is not None:
            size, size_how, size_mark = self._setting("disk")
            values = [("IMAGE", image.name, how, mark), ("IMAGE_UNAME", image.user, how, mark)]
            if size is not None:
                values.append(("SIZE", str(size // units.MIB), size_how, size_mark))
            self._vector("DISK", number, values)
            number += 1
        for i, disk in enumerate(self.role.disks):
            place = self._here("disks", i)
            self._vector("DISK", number + i, ((k, v, "literal", place) for k, v in _disk(disk)))

    def _nics(self) -> None:
        for i, nic in enumerate(self.role.nics):
            network = self.definition.network.get(nic.network)
            if network is None:
                continue  # R302 says so
            place = self._here("nics", i)
            values = [("NETWORK", network.vnet), ("NETWORK_UNAME", network.user), ("MODEL", nic.model)]
            self._vector("NIC", i, ((k, v, "literal", place) for k, v in values))

    def _context(self) -> None:
        context = self.role.context
        values: list[tuple[str, str, str, Mark | None]] = []
        flags = (("network", "NETWORK"), ("token", "TOKEN"), ("report_ready", "REPORT_READY"))
        for key, variable in flags:
            if getattr(context, key):
                values.append((variable, "YES", *self._written("context", key)))
        if context.ssh_keys:
            values.append(("SSH_PUBLIC_KEY", "$USER[SSH_PUBLIC_KEY]", *self._written("context", "ssh_keys")))
        for how, given in (("literal", context.vars), ("late", context.late)):
            section = "vars" if how == "literal" else "late"
            values += [(name, value, how, self._here("context", section, name)) for name, value in given.items()]
        for name, value in context.payload.items():
            values.append(
                (f"{name}_BASE64", _base64(value.encode()), "payload", self._here("context", "payload", name))
            )
        for section, names in (("inputs", self.definition.inputs), ("secrets", self.definition.secrets)):
            values += [(name, f"${name}", "late", self._at(section, name)) for name in names]
        if context.file_images:
            text = " ".join(f'$FILE[IMAGE="{i.name}", IMAGE_UNAME="{i.user}"]' for i in context.file_images)
            values.append(("FILES_DS", text, "made", self._here("context", "file_images")))
        values += self._script()
        self._vector("CONTEXT", 0, values)

    def _written(self, *path: str) -> tuple[str, Mark | None]:
        written = ("roles", self.name, *path) in self.loaded.positions.values
        return ("literal", self._here(*path)) if written else ("default", None)

    def _script(self) -> list[tuple[str, str, str, Mark | None]]:
        """START_SCRIPT_BASE64, or what cloud-init reads in its place."""
        context = self.role.context
        script = self._own()
        files = []
        for i, file in enumerate(context.files):
            said = self._here("context", "files", i)
            for source, path in scripts.members(self.loaded.directory, file.source, file.path, said):
                content = self._read(source, said)
                self.contents[source] = content
                files.append(pack.GuestFile(path, file.mode, content.data))
        mounts = [pack.Mount(d.serial, d.mount) for d in self.role.disks if isinstance(d, Scratch) and d.mount]
        data = pack.start_script(self.agent, script.data if script else None, files, mounts)
        if data is None:
            return []
        place = self._here("context", "script") if script else self._here("context", "files")
        if self.agent == "one-context":
            return [("START_SCRIPT_BASE64", _base64(data), "payload", place)]
        return [
            ("USER_DATA", _base64(data), "payload", place),
            ("USER_DATA_ENCODING", "base64", "made", place),
        ]

    def _own(self) -> Content | None:
        script = self.role.context.script
        if script is None:
            return None
        if script.source is not None:
            content = self._read(script.source, self._here("context", "script"))
        else:
            content = Content((script.text or "").encode(), self._here("context", "script", "text"))
        self.contents["script"] = content
        return content

    def _read(self, name: str, said: Mark) -> Content:
        values = {
            "cluster": self.definition.cluster,
            "network": self.definition.network,
            "role": self.role,
            "role_name": self.name,
            "roles": self.definition.roles,
            "vars": self.role.context.vars,
        }
        return scripts.read(self.loaded.directory, name, values, said)

    def _questions(self) -> None:
        values: list[tuple[str, str, str, Mark | None]] = [
            (name, question(name, self.definition.inputs, self.definition.secrets), "made", self._at(section, name))
            for section, names in (("inputs", self.definition.inputs), ("secrets", self.definition.secrets))
            for name in names
        ]
        if values:
            self._vector("USER_INPUTS", 0, values)

    def _raw(self) -> tuple[Attribute, ...]:
        """Further attributes; unreadable text is T004's to report, and is left out here."""
        try:
            return template.parse(self.role.raw).attributes
        except template.Malformed:
            return ()


def question(name: str, inputs: Mapping[str, Any], secrets: Mapping[str, Any]) -> str:
    """A USER_INPUTS value of OpenNebula: mandatory|type|description|options|default."""
    if name in secrets:
        return f"M|password|{secrets[name].description}"
    asked = inputs[name]
    kind = {"text": "text", "number": "number", "choice": "list"}[asked.type]
    fields = ["M" if asked.required else "O", kind, asked.description]
    if asked.options or asked.default is not None:
        fields += [",".join(asked.options), asked.default or ""]
    return "|".join(fields)


def _disk(disk: Swap | Scratch | Data) -> list[tuple[str, str]]:
    if isinstance(disk, Data):
        return [("IMAGE", disk.image.name), ("IMAGE_UNAME", disk.image.user)]
    size = ("SIZE", str(disk.size // units.MIB))
    if isinstance(disk, Swap):
        return [size, ("TYPE", "swap")]
    return [
        size,
        ("TYPE", "fs"),
        ("FORMAT", "raw"),
        ("FS", disk.fs),
        ("SERIAL", disk.serial),
        ("DEV_PREFIX", "vd"),
        ("VAF_LABEL", disk.serial[:12]),
    ]


def _tree(parts: Iterable[Part]) -> Template:
    """The parts as a tree, in their order; a key that is there twice stays (T003 reports it)."""
    attributes: list[Attribute] = []
    vectors: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for part in parts:
        if part.key:
            vectors.setdefault((part.attribute, part.number), []).append((part.key, part.value))
        else:
            attributes.append(Single(part.attribute, part.value))
    attributes += [template.Vector(name, tuple(items)) for (name, _), items in vectors.items()]
    return Template(tuple(attributes))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _key(value: tuple[str, str, str, Mark | None]) -> str:
    return value[0]

"""`import`: registered templates, and the service that names them, back to a definition and its scripts.

What a definition cannot say is put into `raw`, or named in `notes`; a value that may be a secret is named and left out.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML

from vafnebula import errors
from vafnebula.context import late
from vafnebula.context.lint_values import SECRET_NAME, SECRET_TEXT
from vafnebula.one import template
from vafnebula.one.api import Registered, Service
from vafnebula.one.template import Single, Template, Vector

_FILE = re.compile(r'\$FILE\[IMAGE="?([^",\]]+)"?(?:,\s*IMAGE_UNAME="?([^",\]]+)"?)?\]')
_OWN = ("VAF_CLUSTER", "VAF_ROLE", "VAF_SPEC_SHA256", "DESCRIPTION")
_FLAGS = {"NETWORK": "network", "TOKEN": "token", "REPORT_READY": "report_ready"}
_KINDS = {"text": "text", "number": "number", "list": "choice"}


@dataclass
class Imported:
    """A definition as YAML, scripts by file name, and what could not be brought over."""

    text: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def imported(templates: Sequence[Registered], name: str, service: Mapping[str, Any] | None = None) -> Imported:
    """The definition of cluster `name` with a role per template; counts and parents from the body of `service`."""
    result = Imported()
    services = {r.get("template_id", r.get("vm_template")): r for r in (service or {}).get("roles", ())}
    body: dict[str, Any] = {"apiVersion": "vafnebula/v1", "cluster": {"name": name, "owner": templates[0].owner}}
    described = templates[0].tree.single("DESCRIPTION")
    if described:
        body["cluster"]["description"] = described
    sections: dict[str, dict[str, Any]] = {"network": {}, "roles": {}, "inputs": {}, "secrets": {}}
    for registered in templates:
        known = services.get(registered.id, {})
        role = (
            known.get("name") or registered.tree.single("VAF_ROLE") or _word(registered.name.removeprefix(f"{name}-"))
        )
        if role in sections["roles"]:
            role = f"{role}_{registered.id}"
        sections["roles"][role] = _Role(role, registered.tree, sections, result).read() | _counted(known)
    body |= {key: section for key, section in sections.items() if section}
    result.text = _yaml(body)
    return result


def service_body(services: Sequence[Service], number: int) -> Mapping[str, Any]:
    """The body of service template `number`.  Raises BadArgument."""
    found = [s.body for s in services if s.id == number]
    if not found:
        raise errors.BadArgument(what="--service", value=number, why="OneFlow shows no service template of this id")
    return found[0]


def template_ids(body: Mapping[str, Any] | None) -> list[int]:
    """The templates that a service names, each once.  Raises BadArgument when there are none."""
    ids = [role.get("template_id", role.get("vm_template")) for role in (body or {}).get("roles", ())]
    if not ids:
        raise errors.BadArgument(what="import", value="", why="name templates with --template, or a --service")
    return list(dict.fromkeys(int(number) for number in ids))


class _Role:
    def __init__(self, name: str, tree: Template, sections: dict[str, dict[str, Any]], result: Imported) -> None:
        self.name, self.tree, self.sections, self.result = name, tree, sections, result
        self.role: dict[str, Any] = {}
        self.context: dict[str, Any] = {}
        self.asked: set[str] = set()

    def read(self) -> dict[str, Any]:
        rest: list[template.Attribute] = []
        for vector in self.tree.vectors("USER_INPUTS"):
            self._inputs(vector)
        contexts = self.tree.vectors("CONTEXT")
        self._context(dict(contexts[0].items) if contexts else {})
        for attribute in self.tree.attributes:
            if isinstance(attribute, Single):
                self._single(attribute, rest)
            elif attribute.name == "DISK":
                self._disk(dict(attribute.items))
            elif attribute.name == "NIC":
                self._nic(dict(attribute.items))
            elif attribute.name not in ("CONTEXT", "USER_INPUTS"):
                rest.append(attribute)
        if rest:
            self._raw(rest)
        if self.context:
            self.role["context"] = self.context
        return self.role

    def _note(self, what: str, why: str) -> None:
        self.result.notes.append(f"{self.name}: {what} was left out: {why}")

    def _single(self, attribute: Single, rest: list[template.Attribute]) -> None:
        value = attribute.value
        if attribute.name == "CPU" and re.fullmatch(r"[0-9.]+", value):
            self.role["cpu"] = float(value) if "." in value else int(value)
        elif attribute.name == "VCPU" and value.isdecimal():
            self.role["vcpu"] = int(value)
        elif attribute.name == "MEMORY" and value.isdecimal():
            self.role["memory"] = _size(value)
        elif attribute.name in ("CPU", "VCPU", "MEMORY"):
            self._note(attribute.name, f"{value!r} is no plain number")
        elif attribute.name not in (*_OWN, "CONTEXT", "USER_INPUTS"):
            rest.append(attribute)

    def _raw(self, rest: list[template.Attribute]) -> None:
        good = []
        for attribute in rest:
            text = attribute.value if isinstance(attribute, Single) else " ".join(v for _, v in attribute.items)
            keys = [attribute.name] if isinstance(attribute, Single) else [k for k, _ in attribute.items]
            if SECRET_TEXT.search(text) or any(SECRET_NAME.search(k) for k in keys):
                self._note(attribute.name, "it may hold a secret")
                continue
            try:
                template.check(Template((attribute,)))
            except template.Unwritable as e:
                self._note(attribute.name, e.why)
                continue
            good.append(attribute)
        self.role["raw"] = template.serialize(Template(tuple(good)))

    def _disk(self, disk: dict[str, str]) -> None:
        image, kind, size = disk.pop("IMAGE", ""), disk.pop("TYPE", "").lower(), disk.pop("SIZE", "")
        if image:
            reference = {"name": image, "user": disk.pop("IMAGE_UNAME", "oneadmin")}
            if "image" not in self.role:
                self.role["image"] = reference
                if size:
                    self.role["disk"] = _size(size)
            else:
                self.role.setdefault("disks", []).append({"kind": "image", "image": reference})
                if size:
                    disk["SIZE"] = size
        elif kind == "swap":
            self.role.setdefault("disks", []).append({"kind": "swap", "size": _size(size)})
        elif kind == "fs" and disk.get("FS") in ("xfs", "ext4"):
            scratch = {"kind": "scratch", "size": _size(size), "fs": disk.pop("FS")}
            if "SERIAL" in disk:
                scratch["serial"] = disk.pop("SERIAL")
            self.role.setdefault("disks", []).append(scratch)
            for key in ("FORMAT", "DEV_PREFIX", "VAF_LABEL"):
                disk.pop(key, None)
        else:
            disk |= {"TYPE": kind} if kind else {}
            self._note("a disk", "it is neither a named image nor swap nor scratch")
        if disk:
            self._note("of a disk " + ", ".join(sorted(disk)), "a definition has no word for it")

    def _nic(self, nic: dict[str, str]) -> None:
        vnet = nic.pop("NETWORK", "")
        if not vnet:
            self._note("a NIC", "it does not name its network")
            return
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", vnet).lstrip("-._") or "network"
        self.sections["network"][name] = {"vnet": vnet, "user": nic.pop("NETWORK_UNAME", "oneadmin")}
        model = nic.pop("MODEL", "virtio")
        self.role.setdefault("nics", []).append({"network": name, "model": model} if model != "virtio" else name)
        if nic:
            self._note("of a NIC " + ", ".join(sorted(nic)), "a definition has no word for it")

    def _context(self, items: dict[str, str]) -> None:
        for variable, flag in _FLAGS.items():
            on = items.pop(variable, "").upper() == "YES"
            if on != (flag == "network"):
                self.context[flag] = on
        if items.get("SSH_PUBLIC_KEY", "").upper() == "$USER[SSH_PUBLIC_KEY]":
            del items["SSH_PUBLIC_KEY"]
        else:
            self.context["ssh_keys"] = False
        self._script(items)
        if "FILES_DS" in items:
            found = _FILE.findall(items.pop("FILES_DS"))
            self.context["file_images"] = [{"name": n, "user": u or "oneadmin"} for n, u in found]
        for name, value in items.items():
            self._variable(name, value)

    def _script(self, items: dict[str, str]) -> None:
        script = _decoded(items.pop("START_SCRIPT_BASE64", ""))
        plain = items.pop("START_SCRIPT", "")
        encoding = items.pop("USER_DATA_ENCODING", items.pop("USERDATA_ENCODING", ""))
        given = items.pop("USER_DATA", items.pop("USERDATA", ""))
        data = _decoded(given) if encoding == "base64" else given.encode()
        if data and data.startswith(b"#!"):
            self.role["agent"], script = "cloud-init", data
        elif data:
            self._note("CONTEXT/USER_DATA", "it is no script")
        content = script or plain.encode()
        if content and SECRET_TEXT.search(content.decode("utf-8", "replace")):
            self._note("the start script", "it may hold a secret")
        elif content:
            self.result.files[f"{self.name}.sh"] = content
            self.context["script"] = f"{self.name}.sh"

    def _variable(self, name: str, value: str) -> None:
        if name in self.asked and value == f"${name}":
            return
        content = _decoded(value) if name.endswith("_BASE64") else None
        text = value if content is None else content.decode("utf-8", "replace")
        sounds = name in self.sections["secrets"] or SECRET_NAME.search(name)
        if value and (sounds or SECRET_TEXT.search(text)):
            self._note(f"CONTEXT/{name}", "it may be a secret")
        elif content is not None and content.decode("utf-8", "replace").encode() == content:
            self.context.setdefault("payload", {})[name.removesuffix("_BASE64")] = text
        elif any(not isinstance(p, str) for p in _pieces(value)):
            self.context.setdefault("late", {})[name] = value
        else:
            self.context.setdefault("vars", {})[name] = value

    def _inputs(self, vector: Vector) -> None:
        for name, asked in vector.items:
            fields = [*asked.split("|"), "", "", "", ""]
            required, kind, description = fields[0] == "M", fields[1], fields[2] or name
            self.asked.add(name)
            if kind == "password":
                self.sections["secrets"][name] = {"description": description, "lifetime": "1h"}
            elif kind in _KINDS:
                question = {"type": _KINDS[kind], "description": description, "required": required}
                if kind == "list":
                    question["options"] = fields[3].split(",")
                if fields[4]:
                    question["default"] = fields[4]
                self.sections["inputs"][name] = question
            else:
                self._note(f"USER_INPUTS/{name}", f"a definition has no inputs of type {kind!r}")


def _counted(role: Mapping[str, Any]) -> dict[str, Any]:
    if not role:
        return {}
    count = {"default": role.get("cardinality", 1), "min": role.get("min_vms", 0)}
    if role.get("max_vms") is not None:
        count["max"] = role["max_vms"]
    return {"count": count} | ({"depends_on": list(role["parents"])} if role.get("parents") else {})


def _pieces(value: str) -> tuple[object, ...]:
    try:
        return late.parse(value)
    except late.Unreadable:
        return ()


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if text else None
    except (binascii.Error, ValueError):
        return None


def _size(mib: str) -> str:
    number = int(mib) if mib.isdecimal() else 0
    return f"{number // 1024}GiB" if number and number % 1024 == 0 else f"{number}MiB"


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)[:40] or "role"


def _yaml(body: Mapping[str, Any]) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(dict(body), stream)
    return stream.getvalue()

"""`diff`: what is registered, against what the definition says; parsed trees compared, secrets masked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vafnebula import errors
from vafnebula.context import service
from vafnebula.context.build import SPEC, Built
from vafnebula.context.lint_values import SECRET_NAME, SECRET_TEXT
from vafnebula.context.load import Loaded
from vafnebula.one.api import Api, Registered, Running
from vafnebula.one.template import Single, Template

OWN_KEYS = ("TOKEN",)
"""CONTEXT variables that sound like secrets and are switches."""


class Foreign(errors.RequestError):
    """A template has our name but was not made by us: it is never touched."""

    sentence = "template {id} is called {name} but was not made by vafnebula; rename it, or the cluster"


class WrongUser(errors.RequestError):
    """Templates belong to who registers them."""

    sentence = "the definition's owner is {owner} but OpenNebula is asked as {user}; set ONE_AUTH, or cluster.owner"


class Twice(errors.RequestError):
    """Which of two templates of one name is meant cannot be known."""

    sentence = "{user} has two templates called {name}: {first} and {second}; remove one"


@dataclass(frozen=True)
class Change:
    """`verb` is create, update, delete or keep; `lines` say what differs, secrets masked."""

    verb: str
    kind: str
    name: str
    id: int = -1
    built: Built | None = None
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        number = f" {self.id}" if self.id >= 0 else ""
        return f"{self.verb} {self.kind}{number} {self.name}"


@dataclass(frozen=True)
class Plan:
    """All changes in the order in which they are made, and VMs that were made from older templates."""

    changes: tuple[Change, ...]
    older: tuple[Running, ...]

    @property
    def effective(self) -> tuple[Change, ...]:
        return tuple(c for c in self.changes if c.verb != "keep")


def plan(loaded: Loaded, builts: Sequence[Built], api: Api, target: str, prune: bool) -> Plan:
    """What `apply` would do now.  Raises Foreign, WrongUser, Twice, and what the API raises."""
    owner = loaded.definition.cluster.owner
    if api.user != owner:
        raise WrongUser(owner=owner, user=api.user)
    mine = [t for t in api.templates() if t.owner == owner]
    changes = [_template(built, _only(mine, built.name, owner)) for built in builts]
    changes.append(_service(loaded, changes, api, target))
    if prune:
        names = {b.name for b in builts}
        changes += [
            Change("delete", "template", t.name, t.id)
            for t in mine
            if t.tree.single("VAF_CLUSTER") == loaded.name and t.name not in names
        ]
    specs = {c.id: c.built.template.single(SPEC) for c in changes if c.built and c.id >= 0}
    older = tuple(vm for vm in api.running() if vm.template.isdecimal() and _old(vm, specs))
    return Plan(tuple(changes), older)


def _old(vm: Running, specs: Mapping[int, str]) -> bool:
    number = int(vm.template)
    return number in specs and specs[number] != vm.spec


def _only(templates: Sequence[Registered], name: str, user: str) -> Registered | None:
    found = [t for t in templates if t.name == name]
    if len(found) > 1:
        raise Twice(user=user, name=name, first=found[0].id, second=found[1].id)
    return found[0] if found else None


def _template(built: Built, registered: Registered | None) -> Change:
    if registered is None:
        return Change("create", "template", built.name, -1, built, tuple(differences(Template(()), built.template)))
    if not registered.tree.single("VAF_CLUSTER"):
        raise Foreign(id=registered.id, name=registered.name)
    lines = tuple(differences(registered.tree, built.template))
    return Change("update" if lines else "keep", "template", built.name, registered.id, built, lines)


def differences(old: Template, new: Template) -> Iterator[str]:
    """One line per value that differs.  The order of different attributes means nothing; that of DISKs does."""
    before, after = _flat(old), _flat(new)
    declared = _passwords(old) | _passwords(new)

    def shown(path: str, value: str) -> str:
        key = path.rsplit("/", 1)[-1]
        hidden = key in declared and not path.startswith("USER_INPUTS") and value != f"${key}"
        return "(secret)" if hidden else masked(path, value)

    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            yield f"- {path} = {shown(path, before[path])}"
        elif path not in before:
            yield f"+ {path} = {shown(path, after[path])}"
        elif before[path] != after[path]:
            yield f"~ {path} = {shown(path, before[path])} -> {shown(path, after[path])}"


def _passwords(tree: Template) -> set[str]:
    """What OpenNebula asks for as a password, whatever its name sounds like."""
    return {key for asked in tree.vectors("USER_INPUTS") for key, text in asked.items if "|password|" in text}


def masked(path: str, value: str) -> str:
    """`value` for a person: base64 by its fingerprint, and what may be a secret not at all."""
    key = path.rsplit("/", 1)[-1]
    if key.endswith("_BASE64") or key in ("USER_DATA", "USERDATA"):
        return f"({len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()[:12]})"
    if key != SPEC and key not in OWN_KEYS and SECRET_NAME.search(key):
        return "(secret)"
    return "(secret)" if SECRET_TEXT.search(value) else json.dumps(value, ensure_ascii=False)


def _flat(tree: Template) -> dict[str, str]:
    """Path -> value; equal names are numbered from 0."""
    flat: dict[str, str] = {}
    seen: dict[str, int] = {}
    for attribute in tree.attributes:
        number = seen.get(attribute.name, 0)
        seen[attribute.name] = number + 1
        name = f"{attribute.name}[{number}]" if attribute.name in ("DISK", "NIC") or number else attribute.name
        if isinstance(attribute, Single):
            flat[name] = attribute.value
        else:
            flat.update({f"{name}/{key}": value for key, value in attribute.items} or {name: ""})
    return flat


def _service(loaded: Loaded, changes: Sequence[Change], api: Api, target: str) -> Change:
    """The service, as far as the ids of its templates are known already."""
    ids = {c.built.role: c.id for c in changes if c.built and c.id >= 0}
    wanted = service.service(loaded.definition, target, ids)
    found = [s for s in api.services() if s.name == loaded.name]
    if not found:
        return Change("create", "service", loaded.name)
    lines = tuple(_beyond("", wanted, found[0].body))
    return Change("update" if lines else "keep", "service", loaded.name, found[0].id, None, lines)


def _beyond(path: str, wanted: Any, found: Any) -> Iterator[str]:
    """What is in `wanted` and not in `found`; what OneFlow adds by itself does not matter."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from _beyond(f"{path}.{key}" if path else key, value, found.get(key))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for i, (one, other) in enumerate(zip(wanted, found)):
            yield from _beyond(f"{path}[{i}]", one, other)
    elif wanted != found:
        yield f"~ {path} = {_json(path, found)} -> {_json(path, wanted)}"


def _json(path: str, value: Any) -> str:
    return masked(path, json.dumps(value)) if isinstance(value, (dict, list)) else json.dumps(value)

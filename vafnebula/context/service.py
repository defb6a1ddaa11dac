"""A definition -> the OneFlow service, in the words of each OpenNebula release.

6.10 says `vm_template`, `custom_attrs` and takes template text; from 7.0 on it is `type`, `template_id`,
`user_inputs` (share/oneflow and the schema in src/oca/ruby/opennebula/flow/service_template.rb of each release).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vafnebula.context.build import question
from vafnebula.context.definition import Definition, Role

TARGETS = ("6.10", "7.0", "7.2", "7.4")


def service(definition: Definition, target: str, ids: Mapping[str, int]) -> dict[str, Any]:
    """The service template for OpenNebula `target`; `ids` are the ids of the registered VM templates by role.

    A role without id gets a text in its place that OneFlow refuses: no id can be wrong by accident.
    """
    questions = {
        name: question(name, definition.inputs, definition.secrets)
        for name in (*definition.inputs, *definition.secrets)
    }
    body: dict[str, Any] = {
        "name": definition.cluster.name,
        "deployment": "straight",
        "description": definition.cluster.description,
        "ready_status_gate": any(r.context.report_ready for r in definition.roles.values()),
        "roles": [
            _role(definition, name, role, target, ids.get(name, f"id of template {definition.cluster.name}-{name}"))
            for name, role in definition.roles.items()
        ],
    }
    if questions:
        body["custom_attrs" if target == "6.10" else "user_inputs"] = questions
    return body


def text(service: Mapping[str, Any]) -> str:
    """The JSON of a service: sorted, so that equal services are equal texts."""
    return json.dumps(service, indent=2, sort_keys=True) + "\n"


def _role(definition: Definition, name: str, role: Role, target: str, template: int | str) -> dict[str, Any]:
    body: dict[str, Any] = {"name": name, "cardinality": role.count.default, "min_vms": role.count.min}
    if role.count.max is not None:
        body["max_vms"] = role.count.max
    if role.depends_on:
        body["parents"] = list(role.depends_on)
    if target != "6.10":
        return body | {"type": "vm", "template_id": template}
    body["vm_template"] = template
    asked = (*definition.inputs, *definition.secrets)
    if asked:  # 6.10 hands an answer to a role only where the role's contents name it
        body["vm_template_contents"] = "".join(f'{question} = "${question}"\n' for question in asked)
    return body

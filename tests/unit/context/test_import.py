"""Registered templates back to YAML, and to the same templates again."""

from __future__ import annotations

import base64
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from tests.fakes.site import Site
from tests.unit.context.test_apply import site  # noqa: F401  a fixture
from vafnebula.cli import main
from vafnebula.context import changes
from vafnebula.context.build import SPEC, build_all
from vafnebula.context.load import load
from vafnebula.one import template
from vafnebula.one.template import Template


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["context", *map(str, words)])


def without_spec(tree: Template) -> Template:
    return Template(tuple(a for a in tree.attributes if a.name != SPEC))


def register(server: Site, text: str) -> int:
    document = template.to_xml(Template((template.Single("NAME", "old"), *template.parse(text).attributes)))
    return int(server.template_allocate("vaf:secret", document)[1])


def test_there_and_back(tmp_path: Path, site: Site) -> None:  # noqa: F811
    """What is imported renders to the same templates and service."""
    run("init", "--from", "plain", tmp_path / "first")
    path = tmp_path / "first/cluster.yaml"
    path.write_text(path.read_text().replace("owner: oneadmin", "owner: vaf"))
    done = run("apply", path, "--yes")
    assert done.exit_code == 0, done.output
    (service,) = site.services
    done = run("import", "--service", str(service), "--name", "my-cluster", tmp_path / "second")
    assert done.exit_code == 0, done.output
    assert "note" not in done.output
    again = tmp_path / "second/cluster.yaml"
    for one, other in zip(build_all(load(path)), build_all(load(again))):
        assert list(changes.differences(without_spec(one.template), without_spec(other.template))) == []
    shown = run("diff", again).output
    assert "service 103 my-cluster" in shown
    assert "~ roles" not in shown


OLD = """
CPU="0.5" MEMORY="1000"
DISK=[ IMAGE="debian", IMAGE_UNAME="bob", CACHE="none" ]
DISK=[ TYPE="fs", FS="xfs", SIZE="2048" ]
NIC=[ NETWORK="a b", MAC="02:00:00:00:00:01" ]
GRAPHICS=[ TYPE="vnc", LISTEN="0.0.0.0" ]
CONTEXT=[ NETWORK="YES", HOST="vm-$VMID", MOTD="plain", PASSWORD="hunter2",
  START_SCRIPT="#!/bin/sh
echo hi
", BLOB_BASE64="aGkgdGhlcmU=" ]
USER_INPUTS=[ VO="M|list|Which?|a,b|a", PIN="M|password|Pin" ]
"""


def test_an_old_template(tmp_path: Path, site: Site) -> None:  # noqa: F811
    number = register(site, OLD)
    done = run("import", "--template", str(number), "--name", "c", tmp_path / "new")
    assert done.exit_code == 0, done.output
    assert "MAC was left out" in done.output
    assert "CACHE was left out" in done.output
    assert "CONTEXT/PASSWORD was left out: it may be a secret" in done.output
    assert (tmp_path / "new/old.sh").read_bytes() == b"#!/bin/sh\necho hi\n"
    for file in (tmp_path / "new").iterdir():
        assert "hunter2" not in file.read_text()
    assert "hunter2" not in done.output
    definition = load(tmp_path / "new/cluster.yaml").definition
    role = definition.roles["old"]
    assert (role.cpu, role.memory, role.context.ssh_keys) == (0.5, 1000 << 20, False)
    assert (role.context.late, role.context.vars) == ({"HOST": "vm-$VMID"}, {"MOTD": "plain"})
    assert role.context.payload == {"BLOB": "hi there"}
    assert template.parse(role.raw).vectors("GRAPHICS")
    assert (set(definition.inputs), set(definition.secrets)) == ({"VO"}, {"PIN"})
    assert run("validate", tmp_path / "new/cluster.yaml").exit_code == 0


@pytest.mark.parametrize("words", [["--template", "7"], ["--service", "7"], []])
def test_what_is_not_there(tmp_path: Path, site: Site, words: list[str]) -> None:  # noqa: F811
    assert run("import", "--name", "c", *words, tmp_path / "new").exit_code == 2


def test_a_secret_in_a_script_is_not_written(tmp_path: Path, site: Site) -> None:  # noqa: F811
    number = register(site, 'CPU="1"')
    element = ET.SubElement(ET.SubElement(site.templates[number][2], "CONTEXT"), "START_SCRIPT_BASE64")
    element.text = base64.b64encode(b"#!/bin/sh\n# -----BEGIN PRIVATE KEY-----\n").decode()
    done = run("import", "--template", str(number), "--name", "c", tmp_path / "new")
    assert "the start script was left out" in done.output
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["cluster.yaml"]

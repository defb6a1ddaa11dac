"""The commands as a person runs them, the starter, and the golden files of its rendering."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.context.examples import GOOD, write
from vafnebula import process
from vafnebula.cli import main
from vafnebula.cli.context import context
from vafnebula.context import cdrom, rules, schema, start
from vafnebula.context.build import build_all
from vafnebula.context.load import load
from vafnebula.context.service import TARGETS
from vafnebula.one import template

CHECKOUT = Path(__file__).parents[3]
GOLDEN = CHECKOUT / "tests/golden/context"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["context", *map(str, words)])


@pytest.fixture(params=start.kinds())
def started(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    kind: str = request.param
    assert run("init", "--from", kind, tmp_path / "new").exit_code == 0
    return kind, tmp_path / "new" / "cluster.yaml"


def test_a_starter_is_clean_and_arrives(started: tuple[str, Path]) -> None:
    _, path = started
    done = run("validate", path, "--strict")
    assert (done.exit_code, done.output) == (0, "")
    done = run("test", path)
    assert done.exit_code == 0, done.output
    assert "changed" not in done.output


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_of_what_the_guest_runs(started: tuple[str, Path], tmp_path: Path) -> None:
    """Templates as they are rendered, and our own start script around them."""
    for built in build_all(load(started[1])):
        (context,) = built.template.vectors("CONTEXT")
        script = base64.b64decode(context.get("START_SCRIPT_BASE64"))
        for data in (script, built.contents["script"].data):
            process.run(["shellcheck", "-"], timeout=60, input=data)


@pytest.mark.parametrize("target", TARGETS)
def test_the_rendering_is_the_golden_one(started: tuple[str, Path], tmp_path: Path, target: str) -> None:
    """After a wanted change: delete the files, run the test, look at what git shows."""
    kind, path = started
    done = run("render", path, "-o", tmp_path / "out", "--target", target)
    assert done.exit_code == 0, done.output
    rendered = {f.name: f.read_text() for f in sorted((tmp_path / "out").iterdir())}
    assert {f.name for f in (GOLDEN / kind).glob("*")} <= {*rendered, *TARGETS}
    for name, text in rendered.items():  # templates are the same for all releases
        golden = GOLDEN / kind / name if name.endswith(".one") else GOLDEN / kind / target / name
        if not golden.exists():
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_text(text)
            pytest.fail(f"{golden} was not there; it is now: look at it, and commit it")
        assert text == golden.read_text()
        if name.endswith(".one"):
            template.parse(text)
        else:
            assert json.loads(text)["deployment"] == "straight"


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    done = run("init", "--from", start.kinds()[0], tmp_path)
    assert done.exit_code == 2
    assert "not empty" in done.output


def test_exit_codes(tmp_path: Path) -> None:
    bad = write(tmp_path, {"cluster.yaml": GOOD + "x: 1\n"})
    for command in ("validate", "render", "test", "diff", "apply"):
        assert run(command, bad).exit_code == 1, command
    assert run("validate", tmp_path / "gone.yaml").exit_code == 2
    assert run("validate", "--format", "yaml", bad).exit_code == 2
    warning = GOOD.replace(', mac_class: "02:00:ac:10:01:00/40"', "")
    path = write(tmp_path, {"cluster.yaml": warning})
    assert run("validate", path).exit_code == 0
    assert run("validate", path, "--strict").exit_code == 1


def test_render_of_one_role_is_its_template_alone(tmp_path: Path) -> None:
    path = write(tmp_path, {"cluster.yaml": GOOD})
    done = run("render", path, "--role", "worker")
    assert template.parse(done.output).vectors("NIC")
    assert run("render", path, "--role", "gone").exit_code == 2


def test_render_with_ids(tmp_path: Path) -> None:
    path = write(tmp_path, {"cluster.yaml": GOOD})
    run("render", path, "-o", tmp_path / "out", "--template-id", "worker=7")
    assert json.loads((tmp_path / "out/service.json").read_text())["roles"][0]["template_id"] == 7


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("worker.CONTEXT.A", "cluster.yaml:9:25"),
        ("worker.A", "'x'"),
        ("worker.DISK.0.IMAGE", "cluster.yaml:7:12"),
        ("worker.MEMORY", "a default of the schema"),
        ("worker.NIC.0.NETWORK", "'prv'"),
    ],
)
def test_explain(tmp_path: Path, path: str, said: str) -> None:
    definition = write(tmp_path, {"cluster.yaml": GOOD + "    context: {vars: {A: x}}\n"})
    done = run("explain", path, definition)
    assert done.exit_code == 0
    assert said in done.output


def test_explain_of_nothing_names_what_there_is(tmp_path: Path) -> None:
    done = run("explain", "worker.GONE", write(tmp_path, {"cluster.yaml": GOOD}))
    assert done.exit_code == 2


@pytest.mark.skipif(not any(map(shutil.which, cdrom.PROGRAMS)), reason="no program that writes ISO images")
def test_the_cd_holds_context_sh(tmp_path: Path) -> None:
    path = write(tmp_path, {"cluster.yaml": GOOD + "    context: {late: {A: wn-$VMID}}\n"})
    done = run("iso", "worker", path, "-o", tmp_path / "cd.iso", "--set", "VMID=7", "--set", "ETH0_IP=192.0.2.7")
    assert done.exit_code == 0, done.output
    image = (tmp_path / "cd.iso").read_bytes()
    assert image[32769:32774] == b"CD001"
    assert image[32808:32840].rstrip() == b"CONTEXT"
    assert b"# Context variables generated by OpenNebula\nA='wn-7'\nETH0_IP='192.0.2.7'\nNETWORK='YES'\n" in image


def test_a_host_without_such_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("iso", "worker", write(tmp_path, {"cluster.yaml": GOOD}))
    assert done.exit_code == 1
    assert "xorriso" in done.output


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("docs/context-lint.md", rules.document()),
        ("docs/context-schema.md", schema.document()),
        ("share/schema/cluster.schema.json", schema.json_schema()),
    ],
)
def test_what_is_generated_is_current(file: str, text: str) -> None:
    """To renew: python -m vafnebula.context."""
    assert (CHECKOUT / file).read_text() == text


def test_the_tutorial_names_every_command_and_no_other() -> None:
    tutorial = (CHECKOUT / "docs/context.md").read_text()
    assert set(re.findall(r"vafnebula context ([a-z]+)", tutorial)) == set(context.commands)


def test_the_tutorials_definition_is_valid(tmp_path: Path) -> None:
    tutorial = (CHECKOUT / "docs/context.md").read_text()
    block = re.search(r"```yaml\n(apiVersion.*?)```", tutorial, re.DOTALL)
    scripts = re.findall(r"```sh\n(#!.*?)```", tutorial, re.DOTALL)
    assert block
    path = write(tmp_path, {"cluster.yaml": block[1], "worker.sh": scripts[0]})
    done = run("validate", path, "--strict")
    assert (done.exit_code, done.output) == (0, "")

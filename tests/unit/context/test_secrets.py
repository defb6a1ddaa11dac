"""Nothing of ours puts a long-lived secret into CONTEXT, or shows one: templates, renderings, words of commands."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.fakes.site import Site
from tests.unit.context.examples import GOOD, write
from vafnebula.cli import main
from vafnebula.context import start
from vafnebula.context.build import build_all
from vafnebula.context.lint_values import SECRET_NAME, SECRET_TEXT
from vafnebula.context.load import load

CHECKOUT = Path(__file__).parents[3]
NO_SECRETS = {"SSH_PUBLIC_KEY", "TOKEN"}
"""A public key; and YES or nothing: OpenNebula then makes a token for each VM, outside of the template."""

UNSAFE = re.compile(r"StrictHostKeyChecking[ =]+(no|accept-new)|UserKnownHostsFile[ =]+/dev/null")
PLANTED = "hunter2-of-the-site"


def ours() -> Iterator[Path]:
    for directory in ("templates", "share", "hooks", "mads", "vafnebula"):
        yield from (p for p in (CHECKOUT / directory).rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def test_no_file_of_ours_holds_a_secret() -> None:
    found = [p for p in ours() if SECRET_TEXT.search(p.read_text(errors="replace")) and p.name != "lint_values.py"]
    assert found == []


def test_nothing_that_goes_into_a_guest_trusts_an_unknown_host() -> None:
    """A worker that believes any head would give its key, and itself, to whoever answers first."""
    guest = [*(CHECKOUT / "templates").rglob("*"), *(CHECKOUT / "vafnebula/join").glob("*.py")]
    assert [p for p in guest if p.is_file() and UNSAFE.search(p.read_text())] == []


@pytest.mark.parametrize("kind", start.kinds())
def test_no_rendered_context_holds_a_secret(kind: str, tmp_path: Path) -> None:
    start.init(kind, tmp_path / kind)
    for built in build_all(load(tmp_path / kind / "cluster.yaml")):
        (context,) = built.template.vectors("CONTEXT")
        names = {name for name, _ in context.items}
        assert {n for n in names if SECRET_NAME.search(n)} <= NO_SECRETS
        for name, value in context.items:
            text = base64.b64decode(value).decode(errors="replace") if name.endswith("_BASE64") else value
            assert not SECRET_TEXT.search(text), name
    for path in (tmp_path / kind).rglob("*"):
        assert path.is_dir() or not SECRET_TEXT.search(path.read_text()), path


def test_what_commands_print_and_write_never_holds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that a definition declares, one that OpenNebula has from elsewhere, and the password of the user."""
    (tmp_path / "auth").write_text(f"vaf:{PLANTED}-password\n")
    text = GOOD + "secrets: {JOIN: {description: once, lifetime: 10m}}\n"
    path = write(tmp_path, {"cluster.yaml": text})
    said = []

    def run(*words: str | Path) -> None:
        done = CliRunner().invoke(main, ["context", *map(str, words)])
        said.append(done.output)

    with Site(f"vaf:{PLANTED}-password") as site:
        monkeypatch.setenv("ONE_AUTH", str(tmp_path / "auth"))
        monkeypatch.setenv("ONE_XMLRPC", site.url)
        monkeypatch.setenv("ONEFLOW_URL", site.flow)
        run("apply", path, "--yes")
        assert site.templates
        for _, _, tree in site.templates.values():
            context = tree.find("CONTEXT")
            assert context is not None
            assert context.findtext("JOIN") == "$JOIN"
            next(e for e in context if e.tag == "JOIN").text = PLANTED
        for command in ("validate", "render", "test", "diff"):
            run(command, path)
        run("validate", "--online", path)
        run("explain", "worker.CONTEXT.JOIN", path)
        run("import", "--name", "c", "--template", str(min(site.templates)), tmp_path / "imported")
        run("render", path, "-o", tmp_path / "out")
        run("apply", path, "--yes")
    assert [s for s in said if PLANTED in s] == []
    written = [p for d in ("out", "imported") for p in (tmp_path / d).rglob("*") if p.is_file()]
    assert written
    assert [p for p in written if PLANTED.encode() in p.read_bytes()] == []

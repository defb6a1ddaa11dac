"""R301: `validate --online` against a server that knows images and networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.oned import free_port
from tests.fakes.site import Site
from tests.unit.context.examples import GOOD, marked, write
from vafnebula.cli import main

OS, FILE, READY, DISABLED, ERROR = 0, 5, 1, 3, 5


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    (tmp_path / "one_auth").write_text("vaf:secret\n")
    with Site() as server:
        server.images = [("alma", "oneadmin", OS, READY), ("broken", "vaf", OS, ERROR), ("off", "vaf", OS, DISABLED)]
        server.images += [("init", "oneadmin", FILE, READY)]
        server.networks = [("prv", "oneadmin"), ("public", "carol")]
        monkeypatch.setenv("ONE_AUTH", str(tmp_path / "one_auth"))
        monkeypatch.setenv("ONE_XMLRPC", server.url)
        yield server


def validate(path: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["context", "validate", "--online", "--format", "json", str(path), *more])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (GOOD.replace("image: alma", "image: ¤alam"), "no image 'alam' of oneadmin; did you mean 'alma'?"),
        (GOOD.replace("image: alma", "image: ¤{name: broken, user: vaf}"), "it is in state ERROR"),
        (GOOD.replace("image: alma", "image: ¤{name: off, user: vaf}"), "it is disabled"),
        (GOOD.replace("image: alma", "image: ¤init"), "no image 'init'"),
        (GOOD.replace("vnet: prv", "vnet: ¤public"), "no network 'public' of oneadmin; carol has one"),
        (GOOD + "    context: {file_images: [init, ¤alma]}\n", "no file image 'alma'"),
        (GOOD + "    disks:\n      - {kind: image, image: ¤data}\n", "no image 'data'"),
        (GOOD + "defaults: {image: ¤gone}\n", "no image 'gone'"),
        (
            GOOD.replace("image: alma", "image: *i").replace("roles:", "anchors:\n  x: &i {name: ¤gone}\nroles:"),
            "no image 'gone'",
        ),
    ],
)
def test_what_is_not_there(tmp_path: Path, site: Site, bad: str, said: str) -> None:
    text, line, column = marked(bad)
    done = validate(write(tmp_path, {"cluster.yaml": text}))
    assert done.exit_code == 1
    (found,) = json.loads(done.output)
    assert (found["id"], found["line"]) == ("R301", line)
    assert "&" in text or found["column"] == column
    assert said in found["message"]
    assert "vaf can use" in found["message"] or "cannot be used" in found["message"]


def test_what_is_there(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path, {"cluster.yaml": GOOD + "    context: {file_images: [init]}\n"})
    done = validate(path, "--strict")
    assert (done.exit_code, json.loads(done.output)) == (0, [])


def test_a_site_that_does_not_answer(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_XMLRPC", f"http://127.0.0.1:{free_port()}/RPC2")
    assert validate(write(tmp_path, {"cluster.yaml": GOOD})).exit_code == 3

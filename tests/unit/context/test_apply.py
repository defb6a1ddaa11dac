"""diff and apply, against a server that keeps what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.oned import free_port
from tests.fakes.site import Site
from tests.unit.context.examples import GOOD, write
from vafnebula.cli import main

HEAD = GOOD + "  head:\n    image: alma\n    context: {vars: {A: one}}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    auth = tmp_path / "one_auth"
    auth.write_text("vaf:secret\n")
    with Site() as server:
        monkeypatch.setenv("ONE_AUTH", str(auth))
        monkeypatch.setenv("ONE_XMLRPC", server.url)
        monkeypatch.setenv("ONEFLOW_URL", server.flow)
        yield server


def run(command: str, directory: Path, text: str, *options: str) -> Result:
    path = write(directory, {"cluster.yaml": text})
    return CliRunner().invoke(main, ["context", command, str(path), *options])


def test_apply_makes_it_so_and_a_second_time_changes_nothing(tmp_path: Path, site: Site) -> None:
    first = run("apply", tmp_path, HEAD, "--yes")
    assert first.exit_code == 0, first.output
    assert [c.split()[0] for c in site.calls] == ["template.allocate", "template.allocate", "service.create"]
    assert [r["template_id"] for r in next(iter(site.services.values()))["roles"]] == [101, 102]
    assert run("diff", tmp_path, HEAD).exit_code == 0
    site.calls.clear()
    second = run("apply", tmp_path, HEAD, "--yes")
    assert (second.exit_code, site.calls) == (0, [])


def test_only_what_differs_is_written(tmp_path: Path, site: Site) -> None:
    run("apply", tmp_path, HEAD, "--yes")
    site.calls.clear()
    changed = HEAD.replace("A: one", "A: two")
    shown = run("diff", tmp_path, changed)
    assert shown.exit_code == 1
    assert '~ CONTEXT/A = "one" -> "two"' in shown.output
    assert site.calls == []
    run("apply", tmp_path, changed, "--yes")
    assert site.calls == ["template.update 102"]


def test_without_yes_it_asks_and_no_means_no(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path, {"cluster.yaml": HEAD})
    done = CliRunner().invoke(main, ["context", "apply", str(path)], input="n\n")
    assert (done.exit_code, site.calls) == (1, [])
    assert "create template c-worker" in done.output


@pytest.mark.parametrize("call", ["allocate c-worker", "allocate c-head", "service.create"])
def test_a_failure_in_the_middle_says_what_was_done_and_is_gone_on_with(tmp_path: Path, site: Site, call: str) -> None:
    site.fail_at = call
    failed = run("apply", tmp_path, HEAD, "--yes")
    assert failed.exit_code == 1
    made = len(site.calls)
    assert failed.output.count(": done, id") == made
    assert failed.output.count("not done: ") == 3 - made
    site.fail_at = ""
    assert run("apply", tmp_path, HEAD, "--yes").exit_code == 0
    assert len(site.calls) == 3


def test_prune_removes_this_clusters_templates_only(tmp_path: Path, site: Site) -> None:
    run("apply", tmp_path, HEAD, "--yes")
    run("apply", tmp_path, HEAD.replace("{name: c,", "{name: other,"), "--yes")
    run("apply", tmp_path, GOOD, "--yes")
    assert len(site.templates) == 4
    run("apply", tmp_path, GOOD, "--yes", "--prune")
    assert [name for name, _, _ in site.templates.values()] == ["c-worker", "other-worker", "other-head"]


def test_a_foreign_template_is_never_touched(tmp_path: Path, site: Site) -> None:
    run("apply", tmp_path, GOOD, "--yes")
    (number,) = site.templates
    tree = site.templates[number][2]
    tree.remove(next(e for e in tree if e.tag == "VAF_CLUSTER"))
    site.calls.clear()
    done = run("apply", tmp_path, HEAD, "--yes")
    assert (done.exit_code, site.calls) == (2, [])
    assert "was not made by vafnebula" in done.output


def test_secrets_in_what_is_registered_are_not_shown(tmp_path: Path, site: Site) -> None:
    run("apply", tmp_path, GOOD, "--yes")
    context = site.templates[101][2].find("CONTEXT")
    assert context is not None
    for name, value in (("PASSWORD", "hunter2"), ("X", "$6$saltsalt$hunter2"), ("A_BASE64", "aHVudGVyMg==")):
        element = context.makeelement(name, {})
        element.text = value
        context.append(element)
    for command in (["diff"], ["apply", "--yes"]):
        output = run(command[0], tmp_path, GOOD, *command[1:]).output
        assert "- CONTEXT/PASSWORD = (secret)" in output
        assert "hunter2" not in output
        assert "aHVudGVyMg" not in output
        assert "secret\n" not in output


def test_running_vms_of_older_versions_are_listed(tmp_path: Path, site: Site) -> None:
    run("apply", tmp_path, GOOD, "--yes")
    spec = site.templates[101][2].findtext("VAF_SPEC_SHA256")
    for number, value in ((7, spec), (8, "older")):
        site.vms.append(
            f"<VM><ID>{number}</ID><NAME>vm{number}</NAME><TEMPLATE><TEMPLATE_ID>101</TEMPLATE_ID></TEMPLATE>"
            f"<USER_TEMPLATE><VAF_SPEC_SHA256>{value}</VAF_SPEC_SHA256></USER_TEMPLATE></VM>"
        )
    output = run("diff", tmp_path, GOOD).output
    assert "VM 8 vm8 was made from an older version" in output
    assert "VM 7" not in output


@pytest.mark.parametrize("target", ["6.10", "7.0"])
def test_the_service_speaks_the_words_of_the_release(tmp_path: Path, site: Site, target: str) -> None:
    run("apply", tmp_path, GOOD, "--yes", "--target", target)
    role = next(iter(site.services.values()))["roles"][0]
    assert role["vm_template" if target == "6.10" else "template_id"] == 101


def test_a_site_that_does_not_answer(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_XMLRPC", f"http://127.0.0.1:{free_port()}/RPC2")
    assert run("diff", tmp_path, GOOD).exit_code == 3


def test_another_user_is_refused(tmp_path: Path, site: Site) -> None:
    done = run("apply", tmp_path, GOOD.replace("owner: vaf", "owner: bob"), "--yes")
    assert done.exit_code == 2
    assert "owner is bob" in done.output


def test_wrong_credentials(tmp_path: Path, site: Site) -> None:
    site.session = "vaf:other"
    done = run("diff", tmp_path, GOOD)
    assert done.exit_code == 2
    assert "authenticated" in done.output
    assert "secret" not in done.output

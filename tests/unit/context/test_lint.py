"""Every rule: what it forbids, found where it was written, and the same without the mistake, accepted.

The mark in a text is where the finding must point.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.context.examples import GOOD, findings, marked, write
from vafnebula.context import findings as shown
from vafnebula.context import lint, lint_values
from vafnebula.context.build import Built
from vafnebula.context.rules import RULES
from vafnebula.context.source import Mark, Source
from vafnebula.one.template import Single, Template

SCRIPT = "#!/bin/sh\ntrue\n"
LONG = "x" * 120_001


def role(text: str) -> str:
    return GOOD + text


def context(text: str) -> str:
    return role(f"    context:\n{text}")


BAD: dict[str, list[tuple[str, str]]] = {
    "Y001": [
        (GOOD + "¤roles: {}\n", GOOD),
        (role("    cpu: 1\n    ¤cpu: 2\n"), role("    cpu: 1\n")),
        (GOOD + "x: ¤@y\n", GOOD),
    ],
    "Y002": [
        (role("    ¤imgae: x\n"), role("    cpu: 2\n")),
        (
            role("    context: *c\n").replace("roles:", "anchors:\n  c: &c {¤scirpt: x}\nroles:"),
            role("    context: *c\n").replace("roles:", "anchors:\n  c: &c {token: true}\nroles:"),
        ),
        (role("    memory: ¤4\n"), role("    memory: 4GiB\n")),
        (role("    <<: {cpu: ¤x}\n"), role("    <<: {cpu: 1}\n")),
    ],
    "Y003": [
        (context("      script: ¤gone.sh\n"), context("      script: good.sh\n")),
        (context("      script: ¤link.sh\n"), context("      script: good.sh\n")),
    ],
    "T002": [
        (
            context('      vars: {A: "¤x\\r"}\n').replace('"¤', '¤"').replace('¤"', '"¤'),
            context("      vars: {A: x}\n"),
        ),
        (context("      vars: {A: ¤C:\\dir\\}\n"), context("      payload: {A: C:\\dir\\}\n")),
        (context("      vars: {A: '¤a]]>b'}\n"), context("      payload: {A: 'a]]>b'}\n")),
        (context("      vars: {A: '¤a@^_^@b'}\n"), context("      payload: {A: 'a@^_^@b'}\n")),
    ],
    "T003": [
        (context("      vars: {¤a-b: x}\n"), context("      vars: {A_B: x}\n")),
        (
            context("      vars: {A: x}\n      late: {¤A: $VMID}\n"),
            context("      vars: {A: x}\n      late: {B: $VMID}\n"),
        ),
        (context("      vars: {A_BASE64: x}\n      payload: {¤A: x}\n"), context("      payload: {A: x}\n")),
    ],
    "T004": [
        (role('    raw: |\n      A="1"\n      C=[ X="1", ¤]\n'), role('    raw: |\n      A="1"\n      C=[ X="1" ]\n')),
        (role('    raw: |\n      A="1"\n      ¤CPU="1"\n'), role('    raw: |\n      A="1"\n')),
    ],
    "C101": [
        (context("      vars: {A: cost ¤$5}\n"), context("      payload: {A: cost $5}\n")),
        (
            context("      vars:\n        A: |\n          one\n          two ¤$x\n"),
            context("      vars:\n        A: |\n          one\n          two\n"),
        ),
    ],
    "C102": [
        (context("      late: {A: a-¤$UNKNOWN}\n"), context("      late: {A: a-$VMID}\n")),
        (context("      late: {A: 'x ¤${VMID}'}\n"), context("      late: {A: 'x $VMID'}\n")),
        (context("      late: {A: '¤$NETWORK[DNS]'}\n"), context("      late: {A: '$NETWORK[DNS, NETWORK_ID=3]'}\n")),
    ],
    "C103": [
        (context("      vars: {A: 'say ¤\"hi\"'}\n"), context("      vars: {A: \"say 'hi'\"}\n")),
        (context("      vars: {A: ¤`id`}\n").replace("¤`id`", "'¤`id`'"), context("      payload: {A: '`id`'}\n")),
        (role("    context: {vars: {A: '¤\"'}}\n"), role("    agent: cloud-init\n    context: {vars: {A: '\"'}}\n")),
    ],
    "C104": [(context(f"      vars: {{A: ¤{LONG}}}\n"), context(f"      vars: {{A: {LONG[10:]}}}\n"))],
    "C105": [(context("      vars: {¤PATH: x}\n"), context("      vars: {VAF_PATH: x}\n"))],
    "C106": [(context("      vars: {¤START_SCRIPT: x}\n"), context("      script: good.sh\n"))],
    "C107": [
        (context("      script: {text: '¤echo hi'}\n"), context("      script: {text: '#!/bin/sh'}\n")),
        (
            context(
                "      script:\n        text: |\n          #!/bin/sh\n          if true; then\n            ¤fi fi\n"
            ),
            context("      script:\n        text: |\n          #!/bin/sh\n          if true; then :; fi\n"),
        ),
    ],
    "C108": [
        (context("      late: {SET_HOSTNAME: ¤wn_$VMID}\n"), context("      late: {SET_HOSTNAME: wn-$VMID}\n")),
        (context("      late: {SET_HOSTNAME: ¤$NAME}\n"), context("      vars: {SET_HOSTNAME: a.example}\n")),
    ],
    "S201": [
        (context("      vars: {MUNGE_KEY: ¤abc}\n"), context("      vars: {SSH_HOST_PUBLIC_KEY: abc}\n")),
        (
            context("      payload:\n        A: |\n          x\n          -----BEGIN PRIVATE KEY-----\n").replace(
                "A: |", "A: ¤|"
            ),
            context("      payload:\n        A: |\n          x\n          -----BEGIN CERTIFICATE-----\n"),
        ),
    ],
    "S202": [(context("      vars: {¤FILES: /etc/passwd}\n"), context("      file_images: [init]\n"))],
    "S203": [
        (
            role('    raw: |\n      ¤VAF_EXTRA_MACS="x"\n    context: {token: true}\n'),
            role('    raw: |\n      VAF_EXTRA_MACS="x"\n'),
        )
    ],
    "R302": [
        (role("    count: ¤{default: 1, min: 2}\n"), role("    count: {default: 2, min: 2}\n")),
        (role("    depends_on: [¤head]\n"), role("    count: 3\n")),
        (role("    depends_on: ¤[worker]\n"), role("    depends_on: []\n")),
        (GOOD.replace("[private]", "[¤public]"), GOOD),
        (GOOD.replace("  worker:", "  ¤worker:").replace("    image: alma\n", ""), GOOD),
        (context("      report_ready: ¤true\n"), context("      report_ready: true\n      token: true\n")),
        (GOOD + "inputs: {¤A: {type: choice, description: d}}\n", GOOD + "inputs: {A: {description: d}}\n"),
    ],
    "R303": [
        (
            role('    raw: |\n      ¤RAW=[ DATA="x" ]\n'),
            role('    raw: |\n      RAW=[ DATA="x" ]\n').replace("vaf}", "oneadmin}"),
        )
    ],
    "N401": [
        (GOOD.replace("private: {", "¤private: {").replace(', mac_class: "02:00:ac:10:01:00/40"', ""), GOOD),
        (GOOD.replace('"02:00:ac:10:01:00/40', '"¤02:00:ac:10:01:00/8'), GOOD),
        (GOOD.replace('/40"', '/40", extra_peers: ["¤02:00:ac:10:01:07"]'), GOOD),
    ],
}

CASES = [(rule, bad, good) for rule, cases in BAD.items() for bad, good in cases]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "good.sh").write_text(SCRIPT)
    (tmp_path / "link.sh").symlink_to("/etc/passwd")
    return tmp_path


@pytest.mark.parametrize(("rule", "bad", "good"), CASES, ids=[f"{r}-{i}" for i, (r, _, _) in enumerate(CASES)])
def test_a_rule(files: Path, rule: str, bad: str, good: str) -> None:
    text, line, column = marked(bad)
    found = [f for f in findings(write(files, {"cluster.yaml": text})) if f.id == rule]
    assert [(f.mark.line, f.mark.column) for f in found[:1]] == [(line, column)], found
    assert [f for f in findings(write(files, {"cluster.yaml": good})) if f.id == rule] == []


TEMPLATES = {
    "C107": ({"s.sh.j2": "#!/bin/sh\n{% for i in [1, 2] %}\n¤fi\n{% endfor %}\n"}, {"s.sh.j2": SCRIPT}),
    "C109": (
        {"s.sh.j2": '#!/bin/sh\n{% include "inc.sh" %}\n', "inc.sh": "x=1\ny=¤{{ cluster.name }}\n"},
        {"s.sh.j2": '#!/bin/sh\n{% include "inc.sh" %}\n', "inc.sh": "x=1\ny={{ cluster.name | sh }}\n"},
    ),
    "Y003": (
        {"s.sh.j2": '#!/bin/sh\n{% include "inc.sh" %}\n', "inc.sh": "x=1\n  ¤{{ clutser.name | sh }}\n"},
        {"s.sh.j2": '#!/bin/sh\n{% include "inc.sh" %}\n', "inc.sh": "x=1\n  {{ cluster.name | sh }}\n"},
    ),
    "S201": ({"s.sh.j2": "#!/bin/sh\n# ¤-----BEGIN RSA PRIVATE KEY-----\n"}, {"s.sh.j2": SCRIPT}),
}


@pytest.mark.parametrize("rule", TEMPLATES)
def test_a_rule_in_a_file(tmp_path: Path, rule: str) -> None:
    bad, good = TEMPLATES[rule]
    base = {"cluster.yaml": context("      script: s.sh.j2\n")}
    name, text = next((n, t) for n, t in bad.items() if "¤" in t)
    text, line, column = marked(text)
    found = [f for f in findings(write(tmp_path, base | bad | {name: text})) if f.id == rule]
    assert found, rule
    assert found[0].mark.source.name.startswith(str(tmp_path / name))
    if rule == "C107":  # in what was rendered
        assert found[0].mark.source.line(found[0].mark.line) == "fi"
    else:
        assert (found[0].mark.line, found[0].mark.column) == (line, column)
    assert [f for f in findings(write(tmp_path, base | good)) if f.id == rule] == []


ANCHORED = {
    "C101": "{A: cost ¤$5}",
    "C103": "{A: 'say ¤\"hi\"'}",
    "C105": "{¤PATH: x}",
    "C106": "{¤USER_DATA: x}",
    "S201": "{MUNGE_KEY: ¤abc}",
    "S202": "{¤FILES: /etc/passwd}",
    "T002": "{A: ¤C:\\dir\\}",
    "T003": "{¤a-b: x}",
}


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("rule", ANCHORED)
def test_a_mistake_in_an_anchor_is_found_where_it_was_written(tmp_path: Path, rule: str, merged: bool) -> None:
    use = "{<<: *v, OWN: x}" if merged else "*v"
    bad = context(f"      vars: {use}\n").replace("roles:", f"anchors:\n  v: &v {ANCHORED[rule]}\nroles:")
    text, line, column = marked(bad)
    found = [f for f in findings(write(tmp_path, {"cluster.yaml": text})) if f.id == rule]
    assert [(f.mark.line, f.mark.column) for f in found] == [(line, column)]
    good = text.replace(text.splitlines()[line - 1], "  v: &v {A: x}")
    assert findings(write(tmp_path, {"cluster.yaml": good})) == ()


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("C107", "#!/bin/sh\nif true; then\n  ¤fi fi\n"),
        ("C109", "#!/bin/sh\nx=¤{{ cluster.name }}\n"),
        ("S201", "a\nb ¤-----BEGIN PRIVATE KEY-----\n"),
    ],
)
def test_a_mistake_in_a_file_of_a_directory(tmp_path: Path, rule: str, bad: str) -> None:
    definition = context("      files:\n        - {source: dir, path: /opt/x}\n")
    text, line, column = marked(bad)
    name = "dir/sub/f.sh.j2" if rule == "C109" else "dir/sub/f.sh"
    files = {"cluster.yaml": definition, "dir/good.sh": SCRIPT, "dir/.hidden": "`", name: text}
    found = [f for f in findings(write(tmp_path, files)) if f.id == rule]
    assert [(f.mark.source.name, f.mark.line, f.mark.column) for f in found] == [(str(tmp_path / name), line, column)]
    assert findings(write(tmp_path, files | {name: SCRIPT})) == ()


def test_t001_compares_what_is_read_with_what_was_meant() -> None:
    """No definition that passes the other rules can break it, so a tree does that breaks the writer's promise."""
    broken = Built("worker", "c-worker", "one-context", Template((Single("a", "lower case"),)), (), {})
    mark = Mark(Source("cluster.yaml", "x"))
    assert [f.id for f in lint._round_trip(broken, mark)] == ["T001"]
    sound = Built("worker", "c-worker", "one-context", Template((Single("A", "x"),)), (), {})
    assert list(lint._round_trip(sound, mark)) == []


def test_every_rule_has_examples() -> None:
    """T001 above; R301, which needs OpenNebula, in test_online.py."""
    assert {*BAD, *TEMPLATES, "T001", "R301"} == set(RULES)


def test_a_context_that_is_too_large_as_a_whole(tmp_path: Path) -> None:
    parts = "".join(f"        A{i}: {'x' * 110_000}\n" for i in range(5))
    text = context(f"      vars:\n{parts}")
    found = findings(write(tmp_path, {"cluster.yaml": text}))
    assert [f.id for f in found] == ["C104"]
    assert str(lint_values.LARGEST_CONTEXT) in found[0].message


def test_text_shows_the_line_and_a_caret(tmp_path: Path) -> None:
    path = write(tmp_path, {"cluster.yaml": context("      vars: {A: cost $5}\n")})
    lines = shown.show(findings(path), "text").splitlines()
    assert lines[0].startswith(f"{path}:10:22: error: C101: ")
    assert lines[1] == "          vars: {A: cost $5}"
    assert lines[2].index("^") == lines[1].index("$")


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    found = findings(write(tmp_path, {"cluster.yaml": context("      vars: {MUNGE_KEY: hunter2}\n")}))
    for form in shown.FORMATS:
        assert "hunter2" not in shown.show(found, form)


def test_json_and_sarif(tmp_path: Path) -> None:
    found = findings(write(tmp_path, {"cluster.yaml": context("      vars: {A: cost $5}\n")}))
    assert json.loads(shown.show(found, "json"))[0]["column"] == 22
    run = json.loads(shown.show(found, "sarif"))["runs"][0]
    assert run["results"][0]["ruleId"] == "C101"
    assert run["tool"]["driver"]["rules"][0]["id"] == "C101"

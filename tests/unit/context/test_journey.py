"""The whole way of a value: definition, template, substitution, context.sh, and the programs that read it there."""

from __future__ import annotations

import base64
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.context.examples import GOOD, findings, write
from vafnebula import process
from vafnebula.context import guest, late, pack, prove
from vafnebula.context.build import build
from vafnebula.context.load import load
from vafnebula.one import template

RECORDED = Path(__file__).parents[2] / "data/context/context.sh"
NASTY = st.sampled_from(
    ["'", '"', "\\", "]]>", "$HOME", "${x}", "$(id)", "`id`", "\n", "\r", " ", "\t", "é𝄞", "A=1\n", "@^_^@"]
)
TEXT = st.lists(NASTY | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)).map(
    "".join
)
SHELLS = [s for s in prove.SHELLS if process.run(["which", s], timeout=9, check=False).code == 0]

ENVIRONMENT = dict(os.environ, PYTHONPATH=os.environ.get("CLOUD_INIT_PATH", ""))
"""cloud-init may be installed, or only unpacked somewhere: CLOUD_INIT_PATH is then its dist-packages directory."""

CLOUD_INIT = prove.cloud_init(RECORDED, env=ENVIRONMENT) is not None


def loaded_with(directory: Path, extra: str, files: dict[str, str] | None = None):
    return load(write(directory, {"cluster.yaml": GOOD + extra, **(files or {})}))


def test_our_context_sh_is_opennebulas() -> None:
    """Read by a shell and written by us, the recorded file is the same again, byte for byte."""
    text = RECORDED.read_text()
    names = re.findall(r"^([A-Z0-9_]+)=", text, re.MULTILINE)
    read = prove.sourced("sh", RECORDED)
    assert guest.context_sh({name: read[name] for name in names}) == text


def journey(value: dict[str, str]) -> dict[str, dict[str, str]]:
    """What each reader makes of context.sh with these variables."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "context.sh"
        file.write_text(guest.context_sh(value), encoding="utf-8", newline="")
        return {shell: prove.sourced(shell, file) for shell in SHELLS}


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.from_regex(r"VAF_[A-Z0-9_]{1,8}", fullmatch=True), TEXT, min_size=1, max_size=4))
def test_context_sh_carries_any_text(values: dict[str, str]) -> None:
    for reader, read in journey(values).items():
        assert {name: read.get(name) for name in values} == values, reader


LITERALS = {
    "quotes": "it's",
    "newline": "one\ntwo\n",
    "backslashes": "a\\b\\c",
    "trailing backslash": "C:\\",
    "cdata": "a]]>b",
    "dollar": "cost $5, ${HOME} $(id)",
    "backtick": "`id`",
    "utf-8": "é𝄞",
    "blanks": "  both sides  ",
    "empty": "",
    "all": "'\"\\]]>$`\n\té",
    "64 KiB": "x'\"$\\\n" * 10_923,
}


@pytest.mark.parametrize("name", LITERALS)
def test_payload_arrives_byte_for_byte(tmp_path: Path, name: str) -> None:
    """From YAML through the grammar, both forms, the substitution and context.sh to the variable."""
    quoted = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}" for c in LITERALS[name])
    loaded = loaded_with(tmp_path, f'    context: {{payload: {{A: "{quoted}"}}}}\n')
    assert findings(loaded.path) == ()
    tree = build(loaded, "worker").template
    for form in (template.parse(template.serialize(tree)), template.from_xml(template.to_xml(tree))):
        for reader, read in journey(guest.context(form, {})).items():
            assert base64.b64decode(read["A_BASE64"]).decode() == LITERALS[name], reader


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT)
def test_a_plain_value_arrives_or_is_refused(tmp_path: Path, value: str) -> None:
    """Whatever the lint lets through is what the guest sees, and what one-context's unquoted file makes of it too."""
    quoted = "".join(f"\\U{ord(c):08x}" for c in value)
    loaded = loaded_with(tmp_path, f'    context: {{vars: {{A: "{quoted}"}}}}\n')
    if findings(loaded.path):
        return
    tree = template.parse(template.serialize(build(loaded, "worker").template))
    for reader, read in journey(guest.context(tree, {})).items():
        assert read["A"] == value, reader
    environment = tmp_path / "one_env"
    environment.write_text(f'export A="{value}"\n', newline="")
    assert prove.sourced("bash", environment)["A"] == value


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_files_of_any_bytes_are_written_in_the_guest(tmp_path: Path, data: bytes) -> None:
    target = f"{tmp_path}/etc/a.bin"
    script = b"#!/bin/sh\necho ran >>" + str(tmp_path).encode() + b"/ran\n"
    (tmp_path / "ran").unlink(missing_ok=True)
    files = [pack.GuestFile(target, "0640", data)]
    start = pack.start_script("one-context", script, files, [], home=f"{tmp_path}/home")
    assert start is not None
    for _ in range(2):  # idempotent
        process.run(["sh"], input=start, timeout=20)
        assert Path(target).read_bytes() == data
        assert Path(target).stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "ran").read_text() == "ran\nran\n"


@pytest.mark.parametrize(
    "text",
    ["plain $HOME `id` \\ 'x'\n", "END_OF_FILE\nEND_OF_FILE_\n", "no newline at the end", "\n", "", "\ttab\n", "é\n"],
)
def test_text_travels_as_text(tmp_path: Path, text: str) -> None:
    target = tmp_path / "a.txt"
    start = pack.start_script("one-context", None, [pack.GuestFile(str(target), "0644", text.encode())], [])
    assert start is not None
    for shell in SHELLS:
        process.run([shell], input=start, timeout=20)
        assert target.read_text() == text


def test_a_directory_is_its_files(tmp_path: Path) -> None:
    files = {"d/b.sh": "#!/bin/sh\n", "d/a/x.j2": "{{ role_name }}", "d/.git/y": "", "d/__pycache__/z": ""}
    more = "    context: {files: [{source: d, path: /opt/d, mode: '0755'}]}\n"
    script = base64.b64decode(
        build(loaded_with(tmp_path, more, files), "worker").template.vectors("CONTEXT")[0].get("START_SCRIPT_BASE64")
    ).decode()
    assert re.findall(r"^put (/opt\S*) (\S+)", script, re.MULTILINE) == [
        ("/opt/d/a/x", "0755"),
        ("/opt/d/b.sh", "0755"),
    ]


def test_a_script_alone_is_passed_on_byte_for_byte() -> None:
    script = b"#!/usr/bin/python3\nprint('\xff')\n" * 2000
    assert pack.start_script("one-context", script, [], []) == script
    assert pack.start_script("one-context", None, [], []) is None


@pytest.mark.parametrize("agent", ["one-context", "cloud-init"])
def test_start_scripts_are_clean_shell(agent: str) -> None:
    mounts = [pack.Mount("vafscratch", "/scratch")]
    start = pack.start_script(agent, b"#!/bin/sh\n", [pack.GuestFile("/etc/x", "0644", b"x")], mounts)
    assert start is not None
    for shell in SHELLS:
        process.run([shell, "-n"], input=start, timeout=20)


@pytest.mark.parametrize(
    ("agent", "names"),
    [
        ("one-context", {"START_SCRIPT_BASE64"}),
        ("cloud-init", {"USER_DATA", "USER_DATA_ENCODING"}),
    ],
)
def test_the_guest_agent_gets_the_variables_that_it_reads(tmp_path: Path, agent: str, names: set[str]) -> None:
    loaded = loaded_with(tmp_path, f"    agent: {agent}\n    context: {{script: s.sh}}\n", {"s.sh": "#!/bin/sh\n"})
    keys = {key for key, _ in build(loaded, "worker").template.vectors("CONTEXT")[0].items}
    assert keys - {"NETWORK", "SSH_PUBLIC_KEY"} == names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wn-$VMID.local", "wn-7.local"),
        ("$VMID$VMID", "77"),
        ("$nic[ip]", "10.0.0.1"),
        ('$NETWORK[DNS, NETWORK="a b"]x', "x"),
        ("plain", "plain"),
    ],
)
def test_substitution(text: str, expected: str) -> None:
    values = {"VMID": "7", "NIC": "10.0.0.1"}
    assert late.substituted(text, lambda v: values.get(v.name, "")) == expected


@pytest.mark.parametrize(
    "text", ["$(date)", "${HOME}", "5$", "a $ b", "$$", "\\$HOME", "$A,b", "$A\nb", "$A]", "$A = 1"]
)
def test_what_opennebula_cannot_substitute(text: str) -> None:
    with pytest.raises(late.Unreadable):
        late.parse(text)


def test_the_proof_of_a_role(tmp_path: Path) -> None:
    loaded = loaded_with(tmp_path, "    context: {late: {A: wn-$VMID}}\n")
    verdicts = list(prove.prove(build(loaded, "worker"), {"VMID": "7", "ETH0_IP": "192.0.2.1"}))
    assert [v.reader for v in verdicts if v.wrong] == []
    assert {"grammar", "xml", "sh"} <= {v.reader for v in verdicts}


@pytest.mark.skipif(not CLOUD_INIT, reason="cloud-init is not installed")
def test_cloud_init_reads_what_we_write(tmp_path: Path) -> None:
    """Its parser takes a second to start, so all values travel at once."""
    file = tmp_path / "context.sh"
    values = {f"VAF_{i}": value for i, value in enumerate([*LITERALS.values(), "y" * 100_000])}
    file.write_text(guest.context_sh(values), encoding="utf-8", newline="")
    assert prove.cloud_init(file, env=ENVIRONMENT) == values

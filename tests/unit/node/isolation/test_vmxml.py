from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vafnebula import errors
from vafnebula.node.isolation import nics, vmxml
from vafnebula.node.isolation.settings import Settings

DATA = Path(__file__).parents[3] / "data/vnm/stdin"
RECORDED = sorted(DATA.glob("*.b64"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_what_opennebula_sends_is_understood(path: Path) -> None:
    vm = vmxml.parse(path.read_bytes())
    assert vm.vm.isdigit()
    assert all(e.get("TARGET") == f"one-{vm.vm}-{e.get('NIC_ID')}" for e in vm.elements)
    assert not any("CONTEXT" in e.values or "SSH_PUBLIC_KEY" in e.values for e in vm.elements)


def test_plain_xml_is_understood_too() -> None:
    text = base64.b64decode(RECORDED[0].read_bytes())
    assert vmxml.parse(text) == vmxml.parse(RECORDED[0].read_bytes())


@given(st.binary() | st.builds(base64.b64encode, st.binary()))
@example(b"")
@example(b"PFZNPg==")
@example(b"\xff\xfe<\0V\0M\0/\0>\0")
def test_arbitrary_bytes_give_one_clear_error(data: bytes) -> None:
    with pytest.raises(errors.BadArgument) as caught:
        vmxml.parse(data)
    line = str(caught.value)
    assert line.startswith("VM description 'stdin' is not acceptable: ")
    assert line.isprintable()
    assert len(line) <= errors.LIMIT


@given(st.integers(0, 8000), st.binary(max_size=3), st.sampled_from(RECORDED))
def test_damaged_input_is_understood_or_refused(at: int, junk: bytes, path: Path) -> None:
    text = base64.b64decode(path.read_bytes())
    damaged = text[:at] + junk + text[at + len(junk) :]
    try:
        nics.select(vmxml.parse(damaged), Settings(addresses="strict"), driver="trace", allowed=None)
    except errors.Error as e:
        assert str(e).isprintable()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<VM><ID>1</ID></VM>extra", "not well-formed"),
        ("<!DOCTYPE VM><VM><ID>1</ID></VM>", "document type"),
        ('<!DOCTYPE VM [<!ENTITY a "b">]><VM><ID>&a;</ID></VM>', "document type"),
        ('<!DOCTYPE VM SYSTEM "file:///etc/passwd"><VM><ID>1</ID></VM>', "document type"),
        ("<VM><ID>&b;</ID></VM>", "not well-formed"),
        ("<NO><ID>1</ID></NO>", "root is not VM"),
        ("<VM><NAME>1</NAME></VM>", "no VM/ID"),
        ("<VM><ID>1</ID><ID>2</ID></VM>", "ID is given twice"),
        ("<VM><TEMPLATE><NIC><MAC>a</MAC><MAC>b</MAC></NIC></TEMPLATE></VM>", "MAC is given twice"),
        ("<VM>" + "<A>" * 40, "nested deeper"),
        ("<VM><TEMPLATE><NIC><MAC>" + "a" * 70000, "longer than 65536"),
        ("<VM>" + "<TEMPLATE><NIC/></TEMPLATE>" * 1025, "more than 1024 NICs"),
        ('<?xml version="1.0" encoding="klingon"?><VM><ID>1</ID></VM>', "not well-formed"),
    ],
)
def test_hostile_documents_are_refused(text: str, why: str) -> None:
    with pytest.raises(errors.BadArgument, match=why):
        vmxml.parse(base64.b64encode(text.encode()))


def test_too_much_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(errors.BadArgument, match="longer than 16777216"):
        vmxml.parse(b"A" * (vmxml.MAX_BYTES + 1))


def test_only_the_nics_own_attributes_are_read() -> None:
    text = (
        "<VM><ID>1</ID><USER_TEMPLATE><VAF_EXTRA_MACS>x</VAF_EXTRA_MACS><NIC><MAC>u</MAC></NIC></USER_TEMPLATE>"
        "<TEMPLATE><CONTEXT><NIC><MAC>c</MAC></NIC></CONTEXT></TEMPLATE>"
        "<TEMPLATE><NIC><MAC> m </MAC><DEEP><MAC>d</MAC></DEEP></NIC></TEMPLATE></VM>"
    )
    vm = vmxml.parse(text.encode())
    assert [e.get("MAC") for e in vm.elements] == ["m"]
    assert vm.user_names == ("VAF_EXTRA_MACS",)

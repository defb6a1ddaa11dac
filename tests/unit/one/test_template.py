"""The serializer and the parser against each other, and against what OpenNebula's own grammar does."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula.one import template
from vafnebula.one.template import Malformed, Single, Template, Unwritable, Vector

NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,12}", fullmatch=True)
NASTY = st.sampled_from(
    ['"', "\\", '\\"', "]]>", "$NAME", "\n", "\t", " ", "#", ",", "]", "[", "=", "'", "`", "é", "𝄞"]
)
VALUES = st.lists(NASTY | st.text(max_size=8), max_size=8).map("".join)
SINGLES = st.builds(Single, NAMES, VALUES)
VECTORS = st.builds(
    lambda name, items: Vector(name, tuple(items.items())), NAMES, st.dictionaries(NAMES, VALUES, max_size=4)
)
TREES = st.lists(SINGLES | VECTORS, max_size=5).map(lambda a: Template(tuple(a)))


@given(TREES)
def test_what_is_written_reads_back(tree: Template) -> None:
    try:
        text = template.serialize(tree)
    except Unwritable:
        assert any(template.fault(v) for a in tree.attributes for v in values(a))
        return
    assert template.parse(text) == tree


@given(TREES)
def test_what_is_written_as_xml_reads_back(tree: Template) -> None:
    """An empty vector is the one thing that XML cannot tell from an empty single."""
    try:
        document = template.to_xml(tree)
    except Unwritable:
        return
    expected = tuple(Single(a.name, "") if isinstance(a, Vector) and not a.items else a for a in tree.attributes)
    assert template.from_xml(document).attributes == expected


@given(st.text() | st.lists(NASTY | st.sampled_from(["A", "A=", 'A="x"', "B=[", "]", "C=1\n"])).map("".join))
def test_any_text_is_a_template_or_malformed(text: str) -> None:
    try:
        template.parse(text)
    except Malformed as e:
        assert 1 <= e.line <= text.count("\n") + 1
        assert e.column >= 1


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: f"<TEMPLATE>{t}</TEMPLATE>".encode()))
def test_any_document_is_a_template_or_malformed(document: bytes) -> None:
    with contextlib.suppress(Malformed):
        template.from_xml(document)


def values(attribute: template.Attribute) -> list[str]:
    return [attribute.value] if isinstance(attribute, Single) else [v for _, v in attribute.items]


TRUTH = {
    r'A="say \"hi\""': Single("A", 'say "hi"'),
    r'A="back\\slash"': Single("A", r"back\\slash"),
    'A="two\nlines # no comment, ] é"': Single("A", "two\nlines # no comment, ] é"),
    "a=word": Single("A", "word"),
    'A=""': Single("A", ""),
    "A=\n": Single("A", ""),
    "C=[]": Vector("C", ()),
    'C = [ x = 1,\n y="2" ]': Vector("C", (("X", "1"), ("Y", "2"))),
    '# comment\nA="1" # another\n': Single("A", "1"),
}
"""Upstream's flex and bison files, run on these texts, gave these results."""


@pytest.mark.parametrize("text", TRUTH)
def test_the_grammar_is_opennebulas(text: str) -> None:
    assert template.parse(text) == Template((TRUTH[text],))


@pytest.mark.parametrize(
    ("text", "why", "line", "column"),
    [
        ("A=a b", "= is missing", 1, 6),
        ('C=[ X="1", ]', "comma before ]", 1, 12),
        ('C=[ X="1" Y="2" ]', "a comma", 1, 11),
        ('C=[ X=[ Y="2" ] ]', "vector inside", 1, 7),
        ('A="1"\nC=[ X=1,\n  X=2 ]', "twice", 3, 3),
        ('A-B="1"', "= is missing", 1, 2),
        ('A="never closed', "never closed", 1, 3),
        ('A="a ]]> b"', "]]>", 1, 3),
        ('A="x y"z', "= is missing", 1, 9),
        ("A=", "a value is missing", 1, 3),
        ('A="1" # end', "no newline ends", 1, 7),
        ('A="x"y', "directly after", 1, 3),
        ('A="x"\r\n', "directly after", 1, 3),
    ],
)
def test_what_is_wrong_and_where(text: str, why: str, line: int, column: int) -> None:
    with pytest.raises(Malformed, match=why.replace("]", r"\]")) as caught:
        template.parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_trailing_backslash_swallows_what_follows() -> None:
    """Which is why it cannot be written."""
    with pytest.raises(Malformed, match="= is missing after X"):
        template.parse('A="ends\\"\nB="x"')
    with pytest.raises(Unwritable, match="backslash"):
        template.serialize(Template((Single("A", "ends\\"),)))


@pytest.mark.parametrize("value", ["a]]>b", "cr\r", "nul\0", "\ud800", "\uffff"])
def test_what_cannot_arrive_is_refused(value: str) -> None:
    for form in (template.serialize, template.to_xml):
        with pytest.raises(Unwritable):
            form(Template((Vector("C", (("X", value),)),)))


def test_the_template_inside_of_a_vm_and_a_vmtemplate() -> None:
    inner = "<TEMPLATE><A>1</A><N><I>2</I></N></TEMPLATE>"
    expected = Template((Single("A", "1"), Vector("N", (("I", "2"),))))
    assert template.from_xml(f"<VMTEMPLATE><ID>1</ID>{inner}</VMTEMPLATE>") == expected
    with pytest.raises(Malformed, match="no TEMPLATE"):
        template.from_xml("<VM/>")
    with pytest.raises(Malformed, match="document type"):
        template.from_xml('<!DOCTYPE a [<!ENTITY b "c">]><TEMPLATE/>')


def test_a_long_value() -> None:
    tree = Template((Single("A", '\\"x' * 50_000),))
    assert template.parse(template.serialize(tree)) == tree

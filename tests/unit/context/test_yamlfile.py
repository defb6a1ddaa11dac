"""YAML with positions: anchors, merges, hostile input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula.context import load, yamlfile
from vafnebula.context.findings import Invalid
from vafnebula.context.source import Source


def read(text: str):
    return yamlfile.read(Source("f", text))


def test_an_alias_points_to_where_it_was_written() -> None:
    data, positions = read("a: &x [1, two]\nb: *x\n")
    assert data == {"a": [1, "two"], "b": [1, "two"]}
    assert str(positions.value("b", 1)) == "f:1:11"


def test_a_merge_is_overridden_by_the_mappings_own() -> None:
    data, positions = read("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3\n")
    assert data["b"] == {"k": 3, "l": 2}
    assert str(positions.value("b", "k")) == "f:4:6"
    assert str(positions.value("b", "l")) == "f:1:17"


def test_yaml_1_2_knows_no_norway() -> None:
    assert read("a: no\nb: 012\nc: 1:30\nd: true\ne: 0x1F\nf: 1.5\ng:\n")[0] == {
        "a": "no", "b": 12, "c": "1:30", "d": True, "e": 31, "f": 1.5, "g": None
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "[1, 2", "a: 1\na: 2", "a: !!python/object:os.system x", "? [1]\n: 2", "a: *no", "\0"]
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(text)
    assert caught.value.findings[0].id == "Y001"


def test_a_small_file_cannot_become_a_large_one() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    with pytest.raises(Invalid, match="findings"):
        read(laughs)
    with pytest.raises(Invalid):
        read("[" * 500 + "]" * 500)
    with pytest.raises(Invalid):
        read("a: &a {b: *a}\n")


@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*list("{}[]:,&*!|>'\"#-? \n"), "a", "<<", "roles"])).map("".join)
)
def test_any_text_is_a_definition_or_has_findings(text: str) -> None:
    try:
        data, positions = read(text)
        load.checked(data, positions)
    except Invalid as e:
        assert e.findings

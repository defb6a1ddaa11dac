from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vafnebula import errors, names


def test_names_that_other_machines_remember() -> None:
    assert names.vg(100) == "vg-one-100"
    assert names.disk_volume(7, 0) == "lv-one-7-0"
    assert names.device("vg-one-100", "lv-one-7-0") == "/dev/vg-one-100/lv-one-7-0"
    assert names.origin_key(1, "/ds/1/img", "3.2.1") == "635a1d7702740128658b"
    assert names.origin_key(1, "/ds/1/img", "3.2.1", 4096) != names.origin_key(1, "/ds/1/img", "3.2.1")


@given(st.lists(st.text()))
def test_a_digest_is_blake2_whoever_computes_it(parts: list[str]) -> None:
    assert names.digest(*parts) == hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def test_a_key_does_not_depend_on_where_the_datastore_is_mounted() -> None:
    assert names.origin_key(1, "/a/img", "f") == names.origin_key(1, "/b/c/img", "f")


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 99), st.text(), st.text(), st.none() | st.integers(0)), unique=True))
def test_different_images_have_different_keys(images: list[tuple[int, str, str, int | None]]) -> None:
    distinct = {(ds, source.rsplit("/", 1)[-1], fingerprint, size) for ds, source, fingerprint, size in images}
    assert len({names.origin_key(*image) for image in distinct}) == len(distinct)


def test_a_key_is_a_name_that_lvm_accepts() -> None:
    assert re.fullmatch(r"[0-9a-f]{20}", names.origin_key(1, "a\nb c", "f"))


def test_a_tag_is_read_back() -> None:
    tags = frozenset({names.OURS, names.tag("vm", 7), names.reserve(4096), names.COMPLETE})
    assert names.tag_value(tags, "vm") == "7"
    assert names.tag_value(tags, "reserve") == "4096"
    assert names.tag_value(tags, "v") is None
    assert names.tag_value(tags, "complete") is None


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("007", 7), ("2147483647", 2**31 - 1)])
def test_an_identifier(text: str, number: int) -> None:
    assert names.identifier("VM", text) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.0", " 1", "1\n", "2147483648", "99999999999", "٣", "²", "0x1", "1/2"]
)
def test_what_is_no_identifier_is_refused(text: str) -> None:
    with pytest.raises(errors.BadArgument, match="not a number"):
        names.identifier("VM", text)

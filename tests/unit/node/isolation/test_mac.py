from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors
from vafnebula.node.isolation import mac
from vafnebula.node.isolation.mac import Prefix

MACS = st.integers(1, mac.ALL).filter(lambda m: not m & mac.GROUP_BIT)


@given(MACS)
def test_a_mac_reads_back(number: int) -> None:
    assert mac.parse("x", mac.text(number)) == number
    assert mac.parse("x", mac.text(number).upper()) == number


@given(MACS, st.integers(1, 48))
def test_a_prefix_reads_back(number: int, bits: int) -> None:
    if number >> (48 - bits) == 0:
        return  # contains the zero address
    prefix = mac.parse_prefix("x", f"{mac.text(number)}/{bits}", 1)
    assert number in prefix
    assert prefix.bits == bits
    assert mac.parse_prefix("x", str(prefix), 1) == prefix
    mask = mac.text(mac.ALL ^ mac.ALL >> bits)
    assert mac.parse_prefix("x", f"{mac.text(number)}/{mask}", 1) == prefix


@pytest.mark.parametrize(
    "value",
    [
        "",
        "02:00:ac:10:01",
        "02:00:ac:10:01:05:06",
        "02:00:ac:10:1:5",
        "02-00-ac-10-01-05",
        "0x:00:ac:10:01:05",
        "+2:00:ac:10:01:05",
        " 2:00:ac:10:01:05",
        "\u06602:00:ac:10:01:05",
        "02:00:ac:10:01:05\n",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
        "00:00:00:00:00:00",
        "02:00:ac:10:01:05; drop",
    ],
)
def test_what_is_no_unicast_mac_is_refused(value: str) -> None:
    with pytest.raises(errors.BadArgument, match=r"^MAC of NIC 0 .* is not acceptable: not a"):
        mac.parse("MAC of NIC 0", value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("02:00:ac:10:01:05/ff:ff:00:ff:00:00", "contiguous"),
        ("02:00:ac:10:01:05/49", "contiguous"),
        ("02:00:ac:10:01:05/-1", "contiguous"),
        ("02:00:ac:10:01:05/", "contiguous"),
        ("02:00:ac:10:01:05/ff:ff:ff", "contiguous"),
        ("02:00:ac:10:01:05/23", "wider than the allowed /24"),
        ("02:00:ac:10:01:05/0", "wider"),
        ("00:00:00:10:01:05/24", "zero address"),
    ],
)
def test_a_mask_that_is_too_wide_or_none_is_refused(value: str, why: str) -> None:
    with pytest.raises(errors.BadArgument, match=why):
        mac.parse_prefix("VAF_MAC_CLASS", value, 24)


def test_lists_are_sorted_without_what_others_cover() -> None:
    text = "02:00:ac:10:01:07 02:00:ac:10:01:00/40,52:54:00:00:00:01\t52:54:00:00:00:01"
    assert [str(p) for p in mac.parse_prefixes("x", text, 24, 9)] == ["02:00:ac:10:01:00/40", "52:54:00:00:00:01"]


def test_long_lists_are_refused() -> None:
    with pytest.raises(errors.BadArgument, match="257 entries, at most 256"):
        mac.parse_prefixes("x", " ".join(["52:54:00:00:00:01"] * 257), 24, 256)


def test_link_local_follows_the_mac() -> None:
    """What OpenNebula computed for the same MAC (tests/data/vnm)."""
    assert mac.link_local(0x0200C0000216) == mac.parse_ipv6("x", "fe80::c0ff:fe00:216")


@pytest.mark.parametrize("value", ["", "1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.0x1", "01.2.3.4 ", "٣.2.3.4"])
def test_what_is_no_ipv4_is_refused(value: str) -> None:
    with pytest.raises(errors.BadArgument, match="not an IPv4"):
        mac.parse_ipv4("IP", value)


@pytest.mark.parametrize("value", ["", "fe80::1%eth0", "::g", "1.2.3.4", "fe80::1/64", "\0"])
def test_what_is_no_ipv6_is_refused(value: str) -> None:
    with pytest.raises(errors.BadArgument, match="not an IPv6"):
        mac.parse_ipv6("IP6", value)


@given(MACS, st.integers(1, 48), st.integers(1, 48))
def test_covering_is_containing_all(number: int, a: int, b: int) -> None:
    def of(bits: int) -> Prefix:
        return Prefix(number & ~(mac.ALL >> bits) & mac.ALL, bits)

    assert of(a).covers(of(b)) == (of(b).base in of(a) and of(b).last in of(a))

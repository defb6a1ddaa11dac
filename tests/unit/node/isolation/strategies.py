"""Random NICs, as validation lets them through."""

from __future__ import annotations

from hypothesis import strategies as st

from vafnebula.node.isolation import mac
from vafnebula.node.isolation.mac import Prefix
from vafnebula.node.isolation.nics import Nic

MACS = st.integers(1 << 41, mac.ALL).map(lambda m: m & ~mac.GROUP_BIT)
PREFIXES = st.builds(lambda m, bits: Prefix(m & ~(mac.ALL >> bits) & mac.ALL, bits), MACS, st.integers(24, 48))
IPV4 = st.lists(st.integers(1, 2**32 - 2), max_size=3, unique=True).map(lambda a: tuple(sorted(a)))
IPV6 = st.lists(st.integers(1, 2**128 - 1), max_size=3, unique=True).map(lambda a: tuple(sorted(a)))


def _nic(vm: int, nic: int, own: int, classes: list[Prefix], more: list[Prefix], **rest: object) -> Nic:
    return Nic(
        vm=vm,
        nic=nic,
        mac=own,
        bridge="br0",
        sources=mac.merged((Prefix(own), *more)),
        peers=mac.merged((*classes, *more)),
        **rest,  # type: ignore[arg-type]
    )


NICS = st.builds(
    _nic,
    vm=st.integers(0, 999_999),
    nic=st.integers(0, 99),
    own=MACS,
    classes=st.lists(PREFIXES, min_size=1, max_size=4),
    more=st.lists(PREFIXES, max_size=3),
    ipv4=IPV4,
    ipv6=IPV6,
    gateway=st.booleans(),
)

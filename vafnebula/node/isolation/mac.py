"""MAC and IP addresses as numbers: what was text from outside is parsed here, and printed only from the number.

A Prefix is a set of MACs that share their first bits, as OpenNebula allocates them: one MAC is a Prefix of 48 bits.
"""

from __future__ import annotations

from vafnebula import errors
from vafnebula.node.isolation.record import record

BITS = 48
ALL = (1 << BITS) - 1
PROBE = "0.0.0.0"  # noqa: S104  the sender address of an ARP probe, RFC 5227: nobody's
GROUP_BIT = 1 << 40  # set in broadcast and multicast addresses: never a source, never a cluster


@record
class Prefix:
    """The MACs whose first `bits` bits are those of `base` (the rest of `base` is zero)."""

    base: int
    bits: int = BITS

    @property
    def last(self) -> int:
        return self.base | ALL >> self.bits

    def __contains__(self, mac: int) -> bool:
        return self.base <= mac <= self.last

    def covers(self, other: Prefix) -> bool:
        return self.bits <= other.bits and other.base in self

    def __str__(self) -> str:
        return text(self.base) if self.bits == BITS else f"{text(self.base)}/{self.bits}"


def text(mac: int) -> str:
    """`mac` in canonical form: 02:00:ac:10:01:05."""
    digits = f"{mac:012x}"
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def parse(what: str, value: str) -> int:
    """A unicast MAC written as six pairs of hex digits.  Raises BadArgument naming `what`."""
    number = _six_pairs(value)
    if number is None:
        raise errors.BadArgument(what=what, value=value, why="not a MAC address like 02:00:ac:10:01:05")
    if number & GROUP_BIT or number == 0:
        raise errors.BadArgument(what=what, value=value, why="not a unicast MAC address")
    return number


def parse_prefix(what: str, value: str, least: int) -> Prefix:
    """`MAC`, `MAC/bits` or `MAC/mask` with at least `least` bits fixed.  Raises BadArgument naming `what`."""
    address, slash, mask = value.partition("/")
    base = parse(what, address)
    bits = _bits(mask) if slash else BITS
    if bits is None:
        raise errors.BadArgument(what=what, value=value, why="the mask is not a bit count or contiguous ones")
    if bits < least:
        raise errors.BadArgument(what=what, value=value, why=f"wider than the allowed /{least} ([net] min_prefix)")
    prefix = Prefix(base & ~(ALL >> bits) & ALL, bits)
    if prefix.base == 0:
        raise errors.BadArgument(what=what, value=value, why="contains the zero address")
    return prefix


def parse_prefixes(what: str, value: str, least: int, most: int) -> tuple[Prefix, ...]:
    """A list separated by commas or blanks, as a sorted tuple without duplicates or entries covered by others.

    Raises BadArgument naming `what` when an entry is malformed or there are more than `most`.
    """
    words = value.replace(",", " ").split()
    if len(words) > most:
        raise errors.BadArgument(what=what, value=f"{words[0]} ...", why=f"{len(words)} entries, at most {most}")
    return merged(parse_prefix(what, word, least) for word in words)


def merged(prefixes: object) -> tuple[Prefix, ...]:
    """`prefixes` (iterable of Prefix) sorted by address; an entry that another one covers is left out."""
    out: list[Prefix] = []
    for prefix in sorted(prefixes, key=lambda p: (p.base, p.bits)):  # type: ignore[call-overload]
        if not (out and out[-1].covers(prefix)):
            out.append(prefix)
    return tuple(out)


def parse_ipv4(what: str, value: str) -> int:
    """Dotted quad.  Raises BadArgument naming `what`."""
    number = 0
    parts = value.split(".")
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255):
            break
        number = number << 8 | int(part)
    else:
        if len(parts) == 4:
            return number
    raise errors.BadArgument(what=what, value=value, why="not an IPv4 address")


def ipv4_text(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def parse_ipv6(what: str, value: str) -> int:
    """An IPv6 address without zone or prefix length.  Raises BadArgument naming `what`."""
    import _socket  # the C half of socket: the Python half costs 10 ms of imports

    try:
        return int.from_bytes(_socket.inet_pton(_socket.AF_INET6, value), "big")
    except (OSError, ValueError) as e:
        raise errors.BadArgument(what=what, value=value, why="not an IPv6 address") from e


def ipv6_text(number: int) -> str:
    import _socket

    return _socket.inet_ntop(_socket.AF_INET6, number.to_bytes(16, "big"))


def link_local(mac: int) -> int:
    """The fe80:: address that a guest makes of `mac` (RFC 4291, appendix A)."""
    return 0xFE80 << 112 | (mac >> 24 ^ 0x020000) << 40 | 0xFFFE << 24 | mac & 0xFFFFFF


def _six_pairs(value: str) -> int | None:
    parts = value.split(":")
    if len(parts) != 6 or any(len(p) != 2 or set(p) - set("0123456789abcdefABCDEF") for p in parts):
        return None
    return int("".join(parts), 16)


def _bits(mask: str) -> int | None:
    """How many leading ones `mask` (a count, or six pairs of hex digits) has; None when it is neither."""
    if mask.isascii() and mask.isdigit() and len(mask) <= 2 and int(mask) <= BITS:
        return int(mask)
    number = _six_pairs(mask)
    if number is None:
        return None
    zeros = number ^ ALL
    return None if zeros & (zeros + 1) else BITS - zeros.bit_length()

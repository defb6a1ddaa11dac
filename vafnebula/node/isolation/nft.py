"""A plan as a program for nft, bridge family: the default backend.

Table `bridge vafnebula`: two maps from tap to chain, three base chains that do nothing but look up, two chains per NIC.
Looking a name up costs the same for one VM and for a thousand; so does loading one more, if NICs have few sets of
their own, because nft reads all of a table's sets first.  Names match before the device exists.  Everything
is `add`, then `flush`, then fill, so a program can be loaded any number of times, and nft applies all of it or nothing.

Known: nft 1.0.6 (Debian 12) has no `destroy`; deleting something absent fails, so it is added first.  A rule's comment
carries its name; that of a chain's first rule also a digest of the NIC's program, by which verify knows it again.
"""

from __future__ import annotations

from binascii import crc32

from vafnebula.node.isolation import mac
from vafnebula.node.isolation.mac import BITS, Prefix
from vafnebula.node.isolation.plan import DROP, Plan, Rule
from vafnebula.node.isolation.record import record, replace

TABLE = "bridge vafnebula"
TX_MAP = "vm_tx"
RX_MAP = "vm_rx"
PRIORITY = -310  # before ebtables and libvirt, which hook in at -300
BASE = (
    ("c_pre", "prerouting", f"iifname vmap @{TX_MAP}"),
    ("c_input", "input", f"iifname vmap @{TX_MAP}"),
    ("c_forward", "forward", f"oifname vmap @{RX_MAP}"),
)
TYPES = "ether_types"
SOLICIT_ADVERT = "icmpv6 type 135-136"  # a range: every set of its own slows down each later nft on the node


def program(plans: tuple[Plan, ...], remove: tuple[str, ...] = ()) -> str:
    """The program that loads `plans` and removes the NICs of the taps in `remove`, in one transaction."""
    lines = _skeleton()
    for tap in remove:
        lines += _removal(tap)
    for plan in plans:
        lines += _nic(plan)
    return "\n".join(lines) + "\n"


def table_removal() -> str:
    """The program that leaves nothing of ours, present or not."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def chains(tap: str) -> tuple[str, str]:
    """The names of a NIC's two chains."""
    return f"{tap}-tx", f"{tap}-rx"


@record
class Line:
    """One rule as it is loaded; `label` is its comment: the rule's name, and in a chain's first rule the digest."""

    chain: str
    match: str
    verdict: str
    label: str

    def __str__(self) -> str:
        blank = " " if self.match else ""
        return f'add rule {TABLE} {self.chain} {self.match}{blank}counter {self.verdict} comment "{self.label}"'


def rules(plan: Plan) -> list[Line]:
    """The rules of both chains of a NIC, in order."""
    lines = []
    for chain, checks, matches in zip(chains(plan.nic.tap), (plan.tx, plan.rx), (_tx_matches, _rx_matches)):
        for rule in checks:
            verdict = rule.verdict if plan.enforce or rule.verdict != DROP else "continue"
            lines += [Line(chain, match, verdict, rule.name) for match in matches(plan, rule)]
    mark = _digest("\n".join(map(str, lines)))
    seen: set[str] = set()
    for i, line in enumerate(lines):
        if line.chain not in seen:
            seen.add(line.chain)
            lines[i] = replace(line, label=f"{line.label} {mark}")
    return lines


def _digest(text: str) -> str:
    """Eight hex digits that change with the text: a checksum against drift, not against somebody who is root."""
    return f"{crc32(text.encode()):08x}"


def _skeleton() -> list[str]:
    lines = [f"add table {TABLE}"]
    lines += [f"add map {TABLE} {name} {{ type ifname : verdict; }}" for name in (TX_MAP, RX_MAP)]
    lines += [
        f"add set {TABLE} {TYPES} {{ type ether_type; }}",
        f"add element {TABLE} {TYPES} {{ arp, ip, ip6, 0x8035 }}",
    ]
    for chain, hook, rule in BASE:
        lines += [
            f"add chain {TABLE} {chain} {{ type filter hook {hook} priority {PRIORITY}; policy accept; }}",
            f"flush chain {TABLE} {chain}",
            f"add rule {TABLE} {chain} {rule}",
        ]
    return lines


def _elements(verb: str, tap: str) -> list[str]:
    tx, rx = chains(tap)
    return [
        f'{verb} element {TABLE} {TX_MAP} {{ "{tap}" : jump {tx} }}',
        f'{verb} element {TABLE} {RX_MAP} {{ "{tap}" : jump {rx} }}',
    ]


def _removal(tap: str) -> list[str]:
    names = chains(tap)
    return [
        *(f"add chain {TABLE} {name}" for name in names),
        *_elements("add", tap),
        *_elements("delete", tap),
        *(f"flush chain {TABLE} {name}" for name in names),
        *(f"delete chain {TABLE} {name}" for name in names),
    ]


def _nic(plan: Plan) -> list[str]:
    names = chains(plan.nic.tap)
    return [
        *(f"add chain {TABLE} {name}" for name in names),
        *(f"flush chain {TABLE} {name}" for name in names),
        *map(str, rules(plan)),
        *_elements("add", plan.nic.tap),
    ]


def _tx_matches(plan: Plan, rule: Rule) -> list[str]:
    """What the rule matches on; several entries make several rules."""
    nic, name = plan.nic, rule.name
    own = _not_in(_mac_items(nic.sources))
    own_raw = _not_in(_raw_items(nic.sources))
    if name == "source":
        return [f"ether saddr {own}"]
    if name == "ether-type":
        return [f"ether type != @{TYPES}"]
    if name == "arp-mac":
        return [f"arp saddr ether {own}"]
    if name == "arp-ip":
        return [f"arp saddr ip {_not_in([mac.PROBE, *map(mac.ipv4_text, nic.ipv4)])}"]
    if name == "rarp-mac":
        return [f"ether type 0x8035 @nh,64,48 {own_raw}"]
    if name == "router":
        return ["icmpv6 type nd-router-advert", "icmpv6 type nd-redirect"]
    if name == "dhcp":
        return ["ether type ip udp sport 67"]
    if name == "dhcp6":
        return ["ether type ip6 udp sport 547"]
    if name == "nd-size":  # a second option could hide behind a harmless first; extension headers count as well
        return [f"{SOLICIT_ADVERT} ip6 length > 32", "icmpv6 type nd-router-solicit ip6 length > 16"]
    if name == "nd-mac":  # option type 1: source, 2: target link-layer address
        return [f"{SOLICIT_ADVERT} @th,192,8 1-2 @th,208,48 {own_raw}"]
    if name == "rs-mac":
        return [f"icmpv6 type nd-router-solicit @th,64,8 1-2 @th,80,48 {own_raw}"]
    if name == "nd-ip":
        return [f"icmpv6 type nd-neighbor-advert @th,64,128 {_not_in([f'0x{a:032x}' for a in nic.ipv6])}"]
    if name == "group":
        return ["ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00"]
    if name == "onegate":
        return [f"ip daddr {_in([mac.ipv4_text(a) for a in plan.onegate])}"]
    if name == "peer":
        return [f"ether daddr {_in(_mac_items(nic.peers))}"]
    return [""]  # not-peer


def _rx_matches(plan: Plan, rule: Rule) -> list[str]:
    if rule.name == "onegate":  # OpenNebula's tproxy.rb attaches its proxy to a bridge as port <bridge>b
        return [f'iifname "{plan.nic.bridge}b"']
    if rule.name == "peer":
        return [f"ether saddr {_in(_mac_items(plan.nic.peers))}"]
    return [""]


def _in(items: list[str]) -> str:
    """A set, or the plain value when there is one: a set of one costs a kernel object."""
    return items[0] if len(items) == 1 else "{ " + ", ".join(items) + " }"


def _not_in(items: list[str]) -> str:
    return f"!= {_in(items)}"


def _mac_items(prefixes: tuple[Prefix, ...]) -> list[str]:
    return [str(p) if p.bits in (BITS, 0) else f"{mac.text(p.base)}-{mac.text(p.last)}" for p in prefixes]


def _raw_items(prefixes: tuple[Prefix, ...]) -> list[str]:
    return [f"0x{p.base:012x}" if p.bits == BITS else f"0x{p.base:012x}-0x{p.last:012x}" for p in prefixes]

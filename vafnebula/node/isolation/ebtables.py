"""A plan as a program for ebtables, nft flavour: the 2012 paper's tool, for sites that keep it.

    nat PREROUTING -> vaf-tx -> <tap>-tx     filter INPUT -> vaf-in -> <tap>-tx     filter FORWARD -> vaf-rx -> <tap>-rx

The same checks in the same order as with nft, but: jumps are searched one by one, so frames cost more with every NIC;
neighbour discovery options cannot be read (NOT_EXPRESSIBLE); there is no dry run, only a transaction per table.  If
the second table fails, the first is put back.  Our chains are written exactly as ebtables-save prints them, so what is
loaded can be compared.  Parent chains are replaced as a whole, so the caller must be alone (spool lock).

Legacy ebtables is refused: it has no transactions, and it is called ebtables-legacy, so we simply never call it.
"""

from __future__ import annotations

import os

from vafnebula import errors
from vafnebula.node.isolation import mac, spawn
from vafnebula.node.isolation.mac import BITS, Prefix
from vafnebula.node.isolation.plan import DROP, Plan, Rule
from vafnebula.node.isolation.record import record

TIMEOUT = 60.0
SAVE = "ebtables-nft-save"
RESTORE = "ebtables-nft-restore"
NOT_EXPRESSIBLE = ("nd-size", "nd-mac", "rs-mac", "nd-ip")
TYPES = "vaf-types"
PARENTS = {  # our parent chain: its table, the chain that jumps there, how it tells taps apart, its per-NIC chain
    "vaf-tx": ("nat", "PREROUTING", "-i", "tx"),
    "vaf-in": ("filter", "INPUT", "-i", "tx"),
    "vaf-rx": ("filter", "FORWARD", "-o", "rx"),
}
ORDER = ("filter", "nat")

Tables = dict[str, dict[str, list[str]]]  # table -> chain -> rules, each without its `-A chain`


@record
class Line:
    """One rule: `label` is the check's name."""

    chain: str
    text: str
    label: str


def chains_of(tap: str, names: object) -> list[str]:
    """Those of the chain `names` (iterable) that belong to the NIC of `tap`; one-1-1's are not one-1-10's."""
    return [n for n in names if n.startswith((f"{tap}-tx", f"{tap}-rx"))]  # type: ignore[attr-defined]


def lines(plan: Plan, table: str) -> list[Line]:
    """The rules of a NIC in `table`, in order, sub-chains before what jumps to them."""
    out: list[Line] = []
    drop = "DROP" if plan.enforce else "CONTINUE"
    for rules, direction in ((plan.tx, "tx"), (plan.rx, "rx")):
        if all(PARENTS[p][0] != table or PARENTS[p][3] != direction for p in PARENTS):
            continue
        chain = f"{plan.nic.tap}-{direction}"
        top: list[Line] = []
        for rule in rules:
            if rule.name in NOT_EXPRESSIBLE:
                continue
            verdict = drop if rule.verdict == DROP else "RETURN"
            sub, matches = _tx(plan, rule, verdict) if direction == "tx" else _rx(plan, rule, verdict)
            for match in sub:
                out.append(Line(f"{chain}-{SUB[rule.name]}", match, rule.name))
            for match in matches:
                top.append(Line(chain, match.replace("@", f"{chain}-{SUB.get(rule.name, '')}"), rule.name))
        out += top
    return out


SUB = {
    "source": "s",
    "arp-mac": "a",
    "rarp-mac": "r",
    "arp-ip": "i",
}  # check -> suffix of its own chain, if it needs one


def _tx(plan: Plan, rule: Rule, verdict: str) -> tuple[list[str], list[str]]:
    """Rules of the check's own chain, and those of the NIC's; `@` stands for the own chain's name."""
    nic, name = plan.nic, rule.name
    if name == "source":
        return _none_of("", "-s", [_masked(s) for s in nic.sources], verdict)
    if name == "ether-type":
        return [], [f"-j {TYPES}"]
    if name in ("arp-mac", "rarp-mac"):
        kind = "-p ARP " if name == "arp-mac" else "-p RARP "
        return _none_of(kind, "--arp-mac-src", [_masked(s) for s in nic.sources], verdict)
    if name == "arp-ip":
        return _none_of("-p ARP ", "--arp-ip-src", [mac.PROBE, *map(mac.ipv4_text, nic.ipv4)], verdict)
    if name == "router":
        types = ("router-advertisement", "redirect")
        return [], [f"-p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type {t} -j {verdict}" for t in types]
    if name == "dhcp":
        return [], [f"-p IPv4 --ip-proto udp --ip-sport 67 -j {verdict}"]
    if name == "dhcp6":
        return [], [f"-p IPv6 --ip6-proto udp --ip6-sport 547 -j {verdict}"]
    if name == "group":
        return [], [f"-d Multicast -j {verdict}"]
    if name == "onegate":
        return [], [f"-p IPv4 --ip-dst {mac.ipv4_text(a)} -j {verdict}" for a in plan.onegate]
    if name == "peer":
        return [], [f"-d {_masked(p)} -j {verdict}" for p in nic.peers]
    return [], [f"-j {verdict}"]  # not-peer


def _rx(plan: Plan, rule: Rule, verdict: str) -> tuple[list[str], list[str]]:
    if rule.name == "onegate":
        return [], [f"-i {plan.nic.bridge}b -j {verdict}"]
    if rule.name == "peer":
        return [], [f"-s {_masked(p)} -j {verdict}" for p in plan.nic.peers]
    return [], [f"-j {verdict}"]


def _none_of(kind: str, option: str, items: list[str], verdict: str) -> tuple[list[str], list[str]]:
    """`verdict` for frames of `kind` that match none of `items`."""
    if len(items) == 1:
        return [], [f"{kind}{option} ! {items[0]} -j {verdict}"]
    return [*(f"{kind}{option} {item} -j RETURN" for item in items), f"-j {verdict}"], [f"{kind}-j @"]


def _masked(prefix: Prefix) -> str:
    mask = mac.ALL ^ mac.ALL >> prefix.bits
    return mac.text(prefix.base) if prefix.bits == BITS else f"{mac.text(prefix.base)}/{mac.text(mask)}"


def _types(enforce: bool) -> list[str]:
    verdict = "DROP" if enforce else "CONTINUE"
    return [*(f"-p {p} -j RETURN" for p in ("ARP", "IPv4", "IPv6", "RARP")), f"-j {verdict}"]


def ours(name: str) -> bool:
    """Whether a chain is one of ours."""
    return name in PARENTS or name == TYPES or (name.startswith("one-") and ("-tx" in name or "-rx" in name))


def wanted(have: Tables, plans: tuple[Plan, ...], remove: tuple[str, ...]) -> Tables:
    """Our chains as they shall be after loading `plans` and removing the taps in `remove`: pure.

    Chains that are not ours are left out, but for the jumps to our parents, which belong to INPUT and the like.
    """
    taps = {p.nic.tap: p for p in plans}
    want: Tables = {}
    for table in ORDER:
        chains = {n: list(r) for n, r in have.get(table, {}).items() if ours(n)}
        for tap in (*remove, *taps):
            for name in chains_of(tap, chains):
                del chains[name]
        for plan in plans:
            for line in lines(plan, table):
                chains.setdefault(line.chain, []).append(line.text)
        if plans:
            chains[TYPES] = _types(plans[0].enforce)
        any_left = False
        for parent, (where, _hook, option, direction) in PARENTS.items():
            if where == table:
                names = sorted(n[:-3] for n in chains if n.startswith("one-") and n.endswith(f"-{direction}"))
                chains[parent] = [f"{option} {tap} -j {tap}-{direction}" for tap in names]
                any_left = any_left or bool(names)
        want[table] = chains if any_left else {}
    return want


def transition(have: Tables, want: Tables) -> str:
    """The ebtables-restore program that turns our chains from `have` into `want`; '' when nothing differs: pure."""
    text = []
    for table in ORDER:
        old = {n: r for n, r in have.get(table, {}).items() if ours(n)}
        new = want.get(table, {})
        changed = [n for n in new if old.get(n) != new[n]]
        gone = [n for n in old if n not in new]
        hooks = []
        for parent, (where, hook, _option, _direction) in PARENTS.items():
            if where == table:
                jumps = have.get(table, {}).get(hook, []).count(f"-j {parent}")
                extra = jumps - 1 if parent in new else jumps
                hooks += [f"-D {hook} -j {parent}"] * extra + [f"-I {hook} -j {parent}"] * (-extra)
        if not (changed or gone or hooks):
            continue
        text += [f"*{table}", *(f":{n} RETURN" for n in changed)]
        text += [f"-A {name} {rule}" for name in changed for rule in new[name]]
        text += [*hooks, *(f"-F {n}" for n in gone), *(f"-X {n}" for n in gone), "COMMIT"]
    return "\n".join(text) + "\n" if text else ""


def parse(save: bytes) -> Tables:
    """What ebtables-save printed; with `-c` a rule keeps its `[packets:bytes]` in front."""
    tables: Tables = {}
    chains: dict[str, list[str]] = {}
    for line in save.decode("ascii", "replace").splitlines():
        counters, _, rest = line.rpartition("-A ") if line.startswith(("[", "-A ")) else ("", "", "")
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            chains.setdefault(line[1:].split()[0], [])
        elif rest:
            name, _, rule = rest.partition(" ")
            chains.setdefault(name, []).append(counters + rule)
    return tables


def have() -> Tables:
    """All ebtables chains of the node.  Raises CommandFailed, SudoRefused."""
    return parse(saved())


def saved(*options: str) -> bytes:
    """What ebtables-save prints with `options`.  Raises CommandFailed, SudoRefused."""
    return _run(SAVE, *options).out


def load(plans: tuple[Plan, ...], remove: tuple[str, ...]) -> None:
    """Load and remove.  On failure our chains are as before.  Raises CommandFailed, SudoRefused."""
    before = have()
    _change(before, wanted(before, plans, remove))


def unload() -> None:
    """Remove all our chains and jumps."""
    before = have()
    _change(before, {})


def in_use() -> bool:
    """Whether this backend has anything loaded; asks nft, which is there and allowed on every site."""
    argv = spawn.as_root(["nft", "list", "chain", "bridge", "filter", "vaf-rx"])
    return spawn.run(argv, timeout=TIMEOUT, check=False).code == 0


def _change(before: Tables, want: Tables) -> None:
    program = transition(before, want)
    if not program:
        return
    try:
        _run(RESTORE, "--noflush", input=program)
    except errors.Error:
        back = transition(have(), {t: {n: r for n, r in before.get(t, {}).items() if ours(n)} for t in ORDER})
        if back:
            _run(RESTORE, "--noflush", input=back)
        raise


def _run(program: str, *arguments: str, input: str = "") -> spawn.Ended:
    if not any(os.access(f"{d}/{program}", os.X_OK) for d in os.environ["PATH"].split(":")):
        why = "not installed, and legacy ebtables is refused; install iptables 1.8 or set [net] backend = nft"
        raise errors.CommandFailed(program=program, code=127, why=why)
    return spawn.run(spawn.as_root([program, *arguments]), input=input.encode(), timeout=TIMEOUT)

"""What is loaded: `nft -j list` read back, and compared with what a plan would load.

A rule is known by its comment (its name, and in the first rule of a chain the digest of the NIC's program), its place
and whether it drops.  So drift, leftovers of another version and lost rules are found; whoever is root and forges
comments is not.
"""

from __future__ import annotations

import json

from vafnebula.node.isolation import nft, spawn
from vafnebula.node.isolation.plan import Plan
from vafnebula.node.isolation.record import record

TIMEOUT = 60.0
FAMILY, NAME = nft.TABLE.split()


@record
class Found:
    """One rule in the kernel, with what its counter says."""

    label: str
    drops: bool
    packets: int
    bytes: int


@record
class Counter:
    """What one rule of a NIC has seen: `name` is the check's, `direction` tx or rx."""

    direction: str
    name: str
    drops: bool
    packets: int
    bytes: int


@record
class Seen:
    """Everything of ours in the kernel.  `tx`, `rx`: tap -> the chain its map names."""

    table: bool
    base: bool
    tx: dict[str, str]
    rx: dict[str, str]
    chains: dict[str, tuple[Found, ...]]

    def taps(self) -> set[str]:
        """All taps that have anything: an element or a chain."""
        of_chains = {c[:-3] for c in self.chains if c.startswith("one-") and c.endswith(("-tx", "-rx"))}
        return {*self.tx, *self.rx, *of_chains}

    def holds(self, plan: Plan) -> bool:
        """Whether exactly the rules of `plan` are loaded."""
        tap = plan.nic.tap
        names = nft.chains(tap)
        wanted = nft.rules(plan)
        return (
            self.base
            and (self.tx.get(tap), self.rx.get(tap)) == names
            and all(
                [(f.label, f.drops) for f in self.chains.get(name, ())]
                == [(line.label, line.verdict == "drop") for line in wanted if line.chain == name]
                for name in names
            )
        )

    def counters(self, plan: Plan) -> list[Counter]:
        """The NIC's rules in order with their counters."""
        return [
            Counter(direction, found.label.partition(" ")[0], found.drops, found.packets, found.bytes)
            for direction, name in zip(("tx", "rx"), nft.chains(plan.nic.tap))
            for found in self.chains.get(name, ())
        ]


NOTHING = Seen(False, False, {}, {}, {})


def read() -> Seen:
    """What is loaded now.  Raises CommandFailed, SudoRefused."""
    argv = spawn.as_root(["nft", "-j", "list", "table", *nft.TABLE.split()])
    done = spawn.run(argv, timeout=TIMEOUT, check=False)
    if done.code != 0 and b"No such file" in done.err:
        return NOTHING
    if done.code != 0:
        spawn.run(argv, timeout=TIMEOUT)  # for the error's sake
    return from_json(done.out)


def from_json(text: bytes) -> Seen:
    """Decode the answer of `nft -j list table`."""
    maps: dict[str, dict[str, str]] = {nft.TX_MAP: {}, nft.RX_MAP: {}}
    chains: dict[str, list[Found]] = {}
    hooks: dict[str, tuple[object, object]] = {}
    lookups: dict[str, int] = {}
    types = 0
    for item in json.loads(text)["nftables"]:
        if "map" in item and item["map"]["name"] in maps:
            maps[item["map"]["name"]] = {tap: _target(v) for tap, v in item["map"].get("elem", [])}
        elif "set" in item and item["set"]["name"] == nft.TYPES:
            types = len(item["set"].get("elem", []))
        elif "chain" in item:
            chain = item["chain"]
            chains.setdefault(chain["name"], [])
            hooks[chain["name"]] = (chain.get("hook"), chain.get("prio"))
        elif "rule" in item:
            rule = item["rule"]
            chains.setdefault(rule["chain"], []).append(_found(rule))
            lookups[rule["chain"]] = lookups.get(rule["chain"], 0) + any("vmap" in e for e in rule["expr"])
    base = types == 4 and all(
        hooks.get(name) == (hook, nft.PRIORITY) and lookups.get(name) == 1 == len(chains[name])
        for name, hook, _ in nft.BASE
    )
    return Seen(True, base, maps[nft.TX_MAP], maps[nft.RX_MAP], {name: tuple(c) for name, c in chains.items()})


def _target(verdict: object) -> str:
    """The chain of {"jump": {"target": chain}}; '' for any other verdict."""
    jump = verdict.get("jump") if isinstance(verdict, dict) else None
    return str(jump["target"]) if isinstance(jump, dict) else ""


def _found(rule: dict[str, object]) -> Found:
    expressions = rule["expr"]
    assert isinstance(expressions, list)
    counter: dict[str, int] = next((e["counter"] for e in expressions if isinstance(e.get("counter"), dict)), {})
    drops = any("drop" in e for e in expressions)
    return Found(str(rule.get("comment", "")), drops, counter.get("packets", 0), counter.get("bytes", 0))

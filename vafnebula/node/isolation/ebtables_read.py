"""What the ebtables backend has loaded, in the terms of nft_read: the same questions, the same answers."""

from __future__ import annotations

from vafnebula.node.isolation import ebtables
from vafnebula.node.isolation.ebtables import Tables
from vafnebula.node.isolation.nft_read import Counter
from vafnebula.node.isolation.plan import Plan
from vafnebula.node.isolation.record import record


@record
class Seen:
    """Our chains.  `counted` has the same rules with `[packets:bytes]` in front."""

    tables: Tables
    counted: Tables

    def taps(self) -> set[str]:
        """All taps that have anything."""
        names = {n for chains in self.tables.values() for n in chains if n.startswith("one-") and ebtables.ours(n)}
        return {n.partition("-tx")[0].partition("-rx")[0] for n in names}

    def holds(self, plan: Plan) -> bool:
        """Whether exactly the rules of `plan` are loaded."""
        want = ebtables.wanted(self.tables, (plan,), ())
        return not ebtables.transition(self.tables, want)

    def counters(self, plan: Plan) -> list[Counter]:
        """The NIC's rules in order with their counters; for tx those of nat PREROUTING."""
        out = []
        for table, direction in (("nat", "tx"), ("filter", "rx")):
            left = {n: iter(r) for n, r in self.counted.get(table, {}).items()}
            for line in ebtables.lines(plan, table):
                found = next(left.get(line.chain, iter(())), "")
                if line.chain.startswith(f"{plan.nic.tap}-{direction}") and found:
                    packets, _, size = found.partition("]")[0][1:].partition(":")
                    out.append(Counter(direction, line.label, line.text.endswith("DROP"), int(packets), int(size)))
        return out


def read() -> Seen:
    """What is loaded now.  Raises CommandFailed, SudoRefused."""
    counted = ebtables.parse(ebtables.saved("-c"))
    plain = {t: {n: [_plain(r) for r in rules] for n, rules in chains.items()} for t, chains in counted.items()}
    return Seen(plain, counted)


def _plain(rule: str) -> str:
    return rule.partition("] ")[2] if rule.startswith("[") else rule

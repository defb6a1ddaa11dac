"""plan, reconcile, verify, explain, counters: what an admin or a timer runs on the node.  Each returns plain data.

    python -I -S .../isolation/__main__.py VERB ROOT [TAP] [--json]     ROOT is SCRIPTS_REMOTE_DIR

Exit codes: 0 all is well, 1 something is wrong with what was asked about, 2 the question cannot be answered.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from vafnebula import errors
from vafnebula.node.isolation import deeds, ebtables, hook, mac, nft, nics, plan, reconcile, settings, spawn, vmxml
from vafnebula.node.isolation.nics import Nic
from vafnebula.node.isolation.settings import Settings
from vafnebula.node.isolation.spool import Spool

Row = dict[str, Any]


def make_plan(data: bytes, site: Settings, driver: str | None = None) -> Row:
    """What `pre` would load for the VM described by `data` (XML, also in base64), without loading it.

    Keys: vm, backend, mode, taps, notes, cannot (checks that the backend cannot express), program.
    """
    selection = nics.select(vmxml.parse(data), site, driver=driver, allowed=deeds.read_allowed(site))
    plans = tuple(plan.make(nic, site) for nic in selection.nics)
    cannot: list[str] = []
    if site.backend == "ebtables":
        program = ebtables.transition({}, ebtables.wanted({}, plans, ()))
        cannot = [n for n in ebtables.NOT_EXPRESSIBLE if any(r.name == n for p in plans for r in p.tx)]
    else:
        program = nft.program(plans) if plans else ""
    return {
        "vm": selection.vm,
        "backend": site.backend,
        "mode": site.mode,
        "taps": [nic.tap for nic in selection.nics],
        "notes": list(selection.notes),
        "cannot": [{"check": name, "lets_pass": plan.MEANING[name]} for name in cannot],
        "program": program,
    }


def put_right(site: Settings) -> Row:
    """Reconcile.  Keys: loaded, removed, good (taps), problems (what remains)."""
    found = reconcile.reconcile(site)
    done = {*found.wrong, *found.orphans}
    return {
        "loaded": list(found.wrong),
        "removed": list(found.orphans),
        "good": list(found.good),
        "problems": [{"tap": tap, "problem": text} for tap, text in found.problems() if tap not in done],
    }


def verify(site: Settings) -> Row:
    """Compare only.  Keys: good, problems."""
    with Spool(site, alone=True) as spool:
        found = reconcile.survey(site, spool)
    return {"good": list(found.good), "problems": [{"tap": t, "problem": text} for t, text in found.problems()]}


def counters(site: Settings, tap: str = "") -> list[Row]:
    """What every rule has seen: rows of tap, direction, check, verdict, packets, bytes."""
    rows = []
    seen = reconcile.reader(site)()
    for nic in _remembered(site, tap):
        for c in seen.counters(plan.make(nic, site)):
            verdict = "drop" if c.drops else "pass" if _passes(c.name) else "count"
            row = {"tap": nic.tap, "direction": c.direction, "check": c.name, "verdict": verdict}
            rows.append({**row, "packets": c.packets, "bytes": c.bytes})
    return rows


def explain(site: Settings, tap: str) -> Row:
    """In words: what the NIC may do, what stops what, and what was stopped so far."""
    (nic,) = _remembered(site, tap)
    planned = plan.make(nic, site)
    return {
        "tap": nic.tap,
        "vm": nic.vm,
        "bridge": nic.bridge,
        "mode": site.mode,
        "role": "gateway" if nic.gateway else "guest",
        "loaded": reconcile.reader(site)().holds(planned),
        "may_send_as": [str(p) for p in nic.sources],
        "may_talk_to": [str(p) for p in nic.peers],
        "checked_addresses": [*map(mac.ipv4_text, nic.ipv4), *map(mac.ipv6_text, nic.ipv6)],
        "checks": [
            {**row, "meaning": plan.MEANING[row["check"]]} for row in counters(site, tap) if row["tap"] == nic.tap
        ],
    }


def _passes(name: str) -> bool:
    return name in ("group", "onegate", "peer")


def _remembered(site: Settings, tap: str) -> list[Nic]:
    with Spool(site, alone=False) as spool:
        taps = spool.taps()
        if tap and tap not in taps:
            raise errors.NotFound(what=f"a filter for tap {tap}", advice="see `vafnebula net verify`")
        return [spool.get(t) for t in taps if tap in ("", t)]


def text(verb: str, answer: Any) -> str:
    """The answer for a person."""
    if verb == "plan":
        notes = [f"# {n}" for n in answer["notes"]]
        cannot = [f"# ebtables cannot express {c['check']}; passes: {c['lets_pass']}" for c in answer["cannot"]]
        return "\n".join([*notes, *cannot, answer["program"].rstrip() or "# nothing to filter"])
    if verb == "counters":
        return table(answer, ("tap", "direction", "check", "verdict", "packets", "bytes"))
    if verb == "explain":
        head = [f"{k.replace('_', ' ')}: {_words(v)}" for k, v in answer.items() if k != "checks"]
        checks = table(answer["checks"], ("direction", "check", "verdict", "packets", "meaning"))
        return "\n".join([*head, checks])
    done = [f"{k}: {' '.join(answer[k])}" for k in ("loaded", "removed") if answer.get(k)]
    problems = [f"{p['tap']}: {p['problem']}" for p in answer["problems"]]
    return "\n".join([*done, *problems, f"{len(answer['good'])} NICs are filtered as they should be"])


def table(rows: list[Row], columns: tuple[str, ...]) -> str:
    """`rows` under their column names, aligned."""
    cells = [columns, *(tuple(str(row[c]) for c in columns) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in cells)


def _words(value: Any) -> str:
    return " ".join(map(str, value)) or "-" if isinstance(value, list) else str(value).lower()


def answer(verb: str, site: Settings, tap: str = "", data: bytes = b"") -> Any:
    """The plain data that `verb` returns.  Raises errors.Error."""
    spawn.with_sbin()
    if verb == "plan":
        return make_plan(data, site)
    if verb == "reconcile":
        return put_right(site)
    if verb == "verify":
        return verify(site)
    if verb == "counters":
        return counters(site, tap)
    if verb == "explain":
        return explain(site, tap)
    raise errors.BadArgument(what="verb", value=verb, why="must be plan, reconcile, verify, explain or counters")


def exit_code(verb: str, value: Any) -> int:
    """1 when verify found problems.  reconcile did what it could; a timer shall not fail for a tap that is not ours."""
    return int(verb == "verify" and bool(value["problems"]))


def main(argv: list[str]) -> int:
    """`VERB ROOT [TAP] [--json]`, prints the answer."""
    words = [a for a in argv if a != "--json"]
    verb, root, tap = (*words, "")[:3]
    try:
        site = settings.load(f"{root}/{hook.SITE_FILE}")
        value = answer(verb, site, tap, sys.stdin.buffer.read() if verb == "plan" else b"")
    except errors.Error as e:
        print(errors.one_line(f"net {verb} failed: {e}"), file=sys.stderr)  # noqa: T201
        return 2
    print(json.dumps(value) if "--json" in argv else text(verb, value))  # noqa: T201
    return exit_code(verb, value)

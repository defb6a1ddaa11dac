"""For random NICs, what is read back after loading is what was planned: nothing is left to do, in both backends."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.node.isolation.strategies import NICS
from vafnebula.node.isolation import ebtables, nft, nft_read, plan
from vafnebula.node.isolation.ebtables_read import Seen
from vafnebula.node.isolation.nics import Nic
from vafnebula.node.isolation.settings import Settings

SITES = st.builds(
    Settings,
    mode=st.sampled_from(["enforce", "observe"]),
    onegate=st.sampled_from([(), (0xA9FE1009,), (0xA9FE1009, 0x0A000001)]),
)
SETS = st.lists(NICS, min_size=1, max_size=4, unique_by=lambda n: n.tap)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    name = f"vafp{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def run(namespace: str, *argv: str, stdin: str = "") -> bytes:
    done = subprocess.run(["ip", "netns", "exec", namespace, *argv], input=stdin.encode(), capture_output=True)
    assert done.returncode == 0, f"{done.stderr.decode()}\n{stdin}"
    return done.stdout


@FEW
@given(SETS, SITES)
def test_nft_holds_what_was_planned(namespace: str, nics: list[Nic], site: Settings) -> None:
    run(namespace, "nft", "flush", "ruleset")
    plans = tuple(plan.make(n, site) for n in nics)
    for _ in range(2):
        run(namespace, "nft", "-f", "-", stdin=nft.program(plans))
        seen = nft_read.from_json(run(namespace, "nft", "-j", "list", "table", *nft.TABLE.split()))
        assert [p.nic.tap for p in plans if not seen.holds(p)] == []
        assert seen.taps() == {n.tap for n in nics}
    drifted = [
        plan.make(n, Settings(mode="observe" if site.mode == "enforce" else "enforce", onegate=site.onegate))
        for n in nics
    ]
    assert not any(seen.holds(p) for p in drifted)
    run(namespace, "nft", "-f", "-", stdin=nft.program((), tuple(n.tap for n in nics)))
    left = json.loads(run(namespace, "nft", "-j", "list", "table", *nft.TABLE.split()))
    assert nft_read.from_json(json.dumps(left).encode()).taps() == set()


@FEW
@given(SETS, SITES)
def test_ebtables_holds_what_was_planned(namespace: str, nics: list[Nic], site: Settings) -> None:
    run(namespace, "nft", "flush", "ruleset")
    plans = tuple(plan.make(n, site) for n in nics)
    program = ebtables.transition({}, ebtables.wanted({}, plans, ()))
    run(namespace, ebtables.RESTORE, "--noflush", stdin=program)
    have = ebtables.parse(run(namespace, ebtables.SAVE))
    assert ebtables.transition(have, ebtables.wanted(have, plans, ())) == ""
    assert Seen(have, have).taps() == {n.tap for n in nics}
    away = ebtables.transition(have, ebtables.wanted(have, (), tuple(n.tap for n in nics)))
    run(namespace, ebtables.RESTORE, "--noflush", stdin=away)
    left = ebtables.parse(run(namespace, ebtables.SAVE))
    assert [n for chains in left.values() for n in chains if ebtables.ours(n)] == []
    assert all(not rules for chains in left.values() for rules in chains.values())

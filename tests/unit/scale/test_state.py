"""The sum of the journal's lines, whatever lines there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scale.farm import Farm, policy, scaler
from vafnebula.scale import state as states
from vafnebula.scale.memory import Memory
from vafnebula.scale.model import Drain, RemoveNode, Shape, Start, Terminate, Undrain
from vafnebula.scale.state import Bounds, State

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "memory",
    "actions",
    "act",
    "happened",
    "why",
    "pool",
    "min",
    "max",
    "vm",
    "begun",
    "bounds",
    "squeezed",
    "verb",
)
KINDS = ("decided", "outcome", "scaled", "squeezed", "restored", "checkpoint", "started", "nonsense")
RECORD = st.builds(
    lambda kind, facts: {"at": 1.0, "kind": kind, **facts},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=len(KEYS)),
)


@given(st.lists(RECORD, max_size=5))
def test_lines_without_sense_are_passed_over(records: list[dict[str, Any]]) -> None:
    state = states.fold(records, "farm")
    assert isinstance(state, State)
    json.dumps(state.checkpoint())


def test_every_action_survives_the_journal() -> None:
    shape = Shape(4, 2**33, 1, frozenset({"a", "b"}), frozenset({"q"}))
    for action in (
        Start("p", "t", 5, "r-1", shape, "why"),
        Drain(7, "vaf-7", "p", "why"),
        Undrain(7, "vaf-7", "p", "why"),
        Terminate(7, "vaf-7", "p", "r-1", True, "why"),
        RemoveNode("vaf-7", 7, "why"),
    ):
        line = json.loads(json.dumps(states.written(action)))
        assert states.action_of(line) == action
        assert line["act"] == action.id


def test_a_start_stays_open_until_somebody_knows() -> None:
    start = Start("p", "t", 5, "r-1", Shape(1), "why")
    state = states.decided(State(Memory("f")), Memory("f"), [start, Drain(7, "n", "p", "why")], 1.0)
    assert set(state.begun) == {"start:r-1", "drain:7"}
    assert states.ended(state, "start:r-1", None, "timeout") == state
    state = states.decided(state, state.memory, [], 2.0)
    assert set(state.begun) == {"start:r-1"}, "an old drain is nobody's business any more"
    assert states.ended(state, "start:r-1", True, "VM 8").begun == {}


@given(st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))
def test_bounds_never_exceed_the_policy(least: int | None, most: int | None) -> None:
    wanted = policy(5)
    bounded = State(Memory("f"), bounds={"batch": Bounds(least, most)}).policy(wanted).pools[0]
    assert bounded.quota.vms is not None
    assert 0 <= bounded.min_vms <= bounded.quota.vms <= 5


def test_a_journal_full_of_rubbish_still_starts(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text(
        '{"kind":"decided","at":1,"memory":"x","actions":[]}\n{"kind":"checkpoint"}\n'
    )
    farm = Farm()
    farm.submit(1)
    made = scaler(farm, tmp_path)
    made.cycle()
    assert len(farm.alive()) == 1
    made.journal.close()

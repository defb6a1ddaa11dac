"""HTCondor's own library has the last word on what we write for it and read of it: ClassAds, constraints, events."""

from __future__ import annotations

import classad2
import htcondor2
import pytest

from tests.unit.scale.batch.test_htcondor import NODES, QUEUE, VIEW
from tests.unit.scale.batch.test_slurm import said
from tests.unit.scale.batch.test_torque import Commands
from vafnebula.scale.batch import htcondor, stream
from vafnebula.scale.tail import PATTERNS

EVENTS = "SUBMIT EXECUTE JOB_EVICTED JOB_TERMINATED JOB_ABORTED JOB_HELD JOB_RELEASED"


def printed(text: bytes) -> bytes:
    """`text` as HTCondor's tools print it, list by list."""
    lists = stream.documents(text.decode())
    assert lists
    return b"".join(b"[\n%s\n]\n" % b"\n,\n".join(_ad(ad).printJson().encode() for ad in part) for part in lists)


def _ad(values: dict[str, object]) -> classad2.ClassAd:
    """An expression is a string /Expr(...)/ in JSON."""
    made = classad2.ClassAd()
    for name, value in values.items():
        expression = isinstance(value, str) and value.startswith("/Expr(")
        made[name] = classad2.ExprTree(value[6:-2]) if expression else value
    return made


def test_its_json_is_what_we_read() -> None:
    queue, nodes = printed(QUEUE), printed(NODES)
    assert b"\\/Expr(" in queue, "there is an expression, in its own spelling"
    assert htcondor.parse(queue, nodes) == VIEW


@pytest.mark.parametrize(
    ("slot", "drained"),
    [
        ({"State": "Unclaimed", "NumDynamicSlots": 0}, True),
        ({"State": "Unclaimed"}, True),
        ({"State": "Unclaimed", "NumDynamicSlots": 1}, False),
        ({"State": "Claimed"}, False),
        ({}, False),
    ],
)
def test_the_check_of_a_drain(slot: dict[str, object], drained: bool) -> None:
    """condor_drain's -check must hold for every slot."""
    ad = classad2.ClassAd({**slot, "Check": classad2.ExprTree(htcondor.UNCLAIMED)})
    assert ad.eval("Check") is drained


def test_the_constraint_of_the_queue() -> None:
    run = Commands(condor_q=said(0, b""), condor_status=said(0, b""))
    htcondor.HtCondor({}, run).observe()
    queue = next(argv for argv in run.told if argv[0] == "condor_q")
    constraint = classad2.ExprTree(queue[queue.index("-constraint") + 1])
    wanted = [s for s in range(1, 8) if classad2.ClassAd({"JobStatus": s, "C": constraint}).eval("C")]
    assert wanted == [1, 2, 5, 6, 7]


@pytest.mark.parametrize("name", ["vaf-4.site.org", 'vaf-4"\nRequirements = true', 'vaf-4" || true || "', "vaf-4\\"])
def test_the_ad_that_removes_a_machine_is_about_that_machine(name: str) -> None:
    run = Commands()
    htcondor.HtCondor({}, run).remove(name)
    [(_, text)] = run.told
    query = classad2.parseOne(text.decode())
    mine = name.replace("\\", "").replace('"', "").replace("\n", "")
    assert query["MyType"] == "Query"
    matched = [classad2.ClassAd({"MyType": "Machine", "Machine": m}).matches(query) for m in (mine, "vaf-5")]
    assert matched == [True, False]


def test_the_numbers_of_the_events_that_matter() -> None:
    numbers = {f"{int(getattr(htcondor2.JobEventType, name)):03}" for name in EVENTS.split()}
    assert PATTERNS["htcondor"].decode() == rf"^({'|'.join(sorted(numbers))}) \("


def test_the_numbers_of_job_states() -> None:
    states = {s.name: int(s) for s in htcondor2.JobStatus}
    for name in ("IDLE", "RUNNING", "REMOVED", "COMPLETED", "HELD"):
        assert getattr(htcondor, name) == states[name]
    assert {s for s, ours in htcondor.STATES.items() if ours == "running"} == {
        states[n] for n in ("RUNNING", "TRANSFERRING_OUTPUT", "SUSPENDED")
    }

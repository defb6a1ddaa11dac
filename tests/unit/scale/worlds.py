"""Strategies: policies, queues, sites with their faults, and snapshots."""

from __future__ import annotations

from hypothesis import strategies as st

from vafnebula.scale.model import (
    Job,
    Node,
    Policy,
    Pool,
    Quota,
    Shape,
    Snapshot,
    Source,
    Template,
    Timers,
    Vm,
)
from vafnebula.scale.world import EPOCH, Faults, Work
from vafnebula.units import GIB

SMALL = Template("small", 1, Shape(4, 8 * GIB))
LARGE = Template("large", 2, Shape(16, 64 * GIB))
GPU = Template("gpu", 3, Shape(8, 32 * GIB, 1, frozenset({"a100"}), frozenset({"gpu"})))

SHAPES = [
    Shape(1, GIB),
    Shape(2, 2 * GIB),
    Shape(4, 4 * GIB),
    Shape(8, 8 * GIB),
    Shape(1, 30 * GIB),
    Shape(4, 4 * GIB, whole=True),
    Shape(1, GIB, 1, frozenset(), frozenset({"gpu"})),
    Shape(1, GIB, 0, frozenset({"a100|v100"})),
]
IMPOSSIBLE = [Shape(64, GIB), Shape(1, 999 * GIB), Shape(1, GIB, 0, frozenset({"quantum"}))]

counts = st.integers(0, 8)
shapes = st.sampled_from(SHAPES)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    kinds = draw(st.sampled_from([(SMALL,), (SMALL, LARGE), (LARGE,), (SMALL, LARGE, GPU)]))
    most = draw(st.integers(1, 12))
    quota = Quota(
        most, draw(st.none() | st.integers(4, 64)), draw(st.none() | st.integers(8, 256).map(lambda g: g * GIB))
    )
    least = draw(st.integers(0, min(2, most)))
    timers = Timers(
        come_alive=draw(st.sampled_from([120.0, 600.0])),
        job_alive=draw(st.sampled_from([120.0, 600.0])),
        keep_alive=draw(st.sampled_from([60.0, 600.0])),
    )
    pools = [Pool("w", kinds, least, draw(st.integers(0, 2)), quota, timers)]
    if draw(st.booleans()):
        pools.append(Pool("x", (LARGE,), 0, 0, Quota(draw(st.integers(1, 4))), timers))
    total = Quota(draw(st.none() | st.integers(1, 14)))
    return Policy(tuple(pools), total, starts=draw(st.sampled_from([3, 50])))


@st.composite
def works(draw: st.DrawFn, *, most: int = 30, hours: float = 1.0, odd: bool = True) -> list[Work]:
    made = []
    for wave in range(draw(st.integers(1, 4))):
        when = draw(st.floats(0, hours * 3600))
        shape = draw(st.sampled_from([*SHAPES, *IMPOSSIBLE]) if odd else shapes)
        seconds = draw(st.floats(1, 3000))
        nodes = draw(st.sampled_from([1, 1, 1, 2, 3]))
        never, held = (draw(st.sampled_from([False] * 5 + [True])) for _ in range(2)) if odd else (False, False)
        made += [
            Work(f"{wave}.{i}", shape, when, seconds, nodes, never, held) for i in range(draw(st.integers(1, most)))
        ]
    return made


@st.composite
def troubles(draw: st.DrawFn) -> Faults:
    rare = st.sampled_from([0.0, 0.0, 0.05, 0.3])
    slow = draw(st.sampled_from([20.0, 60.0, 500.0, 900.0]))
    return Faults(
        boot=(slow, 1.5 * slow),
        broken=draw(st.sampled_from([frozenset(), frozenset(), frozenset({"small"}), frozenset({"large"})])),
        fizzling=draw(st.sampled_from([frozenset(), frozenset(), frozenset({"large"})])),
        never=draw(rare),
        life=draw(st.sampled_from([float("inf"), 3000.0])),
        lag=draw(st.sampled_from([0.0, 5.0, 60.0])),
        refuse=draw(rare),
        unanswered=draw(rare),
        partial=draw(rare),
        forget=draw(st.sampled_from([0.0, 0.0, 0.02])),
    )


@st.composite
def snapshots(draw: st.DrawFn, policy: Policy, *, shape: st.SearchStrategy[Shape] = shapes) -> Snapshot:
    """A farm in mid-life: VMs in all states, nodes with and without jobs, machines that are not ours, a queue."""
    now = EPOCH
    jobs = []
    for wave in range(draw(st.integers(0, 4))):
        kind, nodes = draw(shape), draw(st.sampled_from([1, 1, 2]))
        jobs += [Job(f"{wave}.{i}", kind, "waiting", nodes, "Resources", now - wave) for i in range(draw(counts))]
    vms, nodes = [], []
    for n in range(draw(counts)):
        pool = draw(st.sampled_from(policy.pools))
        template = draw(st.sampled_from(pool.templates))
        state = draw(
            st.sampled_from(["running", "running", "running", "pending", "booting", "failed", "stopping", "other"])
        )
        vms.append(Vm(n, pool.name, f"r{n}", template.name, state, f"vaf-{n}", "h", template.shape, now - 100))
        if state == "running" and draw(st.booleans()):
            nodes.append(node(draw, f"vaf-{n}", template.shape, n))
    for n in range(draw(st.integers(0, 2))):
        vms.append(Vm(100 + n, "not-ours", "", "", "running", f"other-{n}", "h", Shape(4, 8 * GIB), now))
        nodes.append(node(draw, f"other-{n}", Shape(4, 8 * GIB), None))
    source = Source(now)
    return Snapshot(now, source, source, tuple(jobs), tuple(nodes), tuple(vms))


def node(draw: st.DrawFn, name: str, offer: Shape, vm: int | None) -> Node:
    used = draw(st.integers(0, offer.cores))
    free = Shape(
        offer.cores - used, offer.memory * (offer.cores - used) // offer.cores, offer.gpus, offer.features, offer.queues
    )
    state = draw(st.sampled_from(["up", "up", "up", "down"]))
    draining = draw(st.sampled_from([False, False, True]))
    note = draw(st.sampled_from(["vafnebula: idle", "the admin repairs it"])) if draining else ""
    return Node(name, offer, free, state, draining, note, used, vm)

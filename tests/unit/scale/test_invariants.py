"""What must hold whatever happens: decide in a world with lag, loss, crashes and clocks that jump.

The numbers are those of the list in docs/scaling.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.scale.worlds import (
    IMPOSSIBLE,
    LARGE,
    SHAPES,
    SMALL,
    policies,
    shapes,
    snapshots,
    troubles,
    works,
)
from vafnebula.scale.decide import decide
from vafnebula.scale.memory import Memory, from_json
from vafnebula.scale.model import (
    Drain,
    Job,
    Policy,
    Pool,
    Quota,
    RemoveNode,
    Shape,
    Snapshot,
    Start,
    Terminate,
    Timers,
    Undrain,
)
from vafnebula.scale.simulate import Scaler, run
from vafnebula.scale.world import Faults, Machine, Work, World

HOUR, DAY = 3600.0, 86400.0
DESTRUCTIVE = (Drain, Terminate, RemoveNode)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def alive(world: World, pool: str | None = None) -> list[Machine]:
    mine = [m for m in world.machines.values() if m.gone is None and m.id not in world.foreign]
    return [m for m in mine if pool is None or m.pool == pool]


def within(policy: Policy, world: World) -> bool:
    for quota, mine in [(policy.quota, alive(world)), *((p.quota, alive(world, p.name)) for p in policy.pools)]:
        sizes = [m.template.shape for m in mine]
        for most, used in (
            (quota.vms, len(mine)),
            (quota.cores, sum(s.cores for s in sizes)),
            (quota.memory, sum(s.memory for s in sizes)),
        ):
            if most is not None and used > most:
                return False
    return True


@settings(max_examples=80, suppress_health_check=SLOW)
@given(
    policies(),
    works(),
    troubles(),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.0, 0.05]),
    st.sampled_from([0.0, 0.0, 0.02]),
)
def test_in_any_world(policy: Policy, jobs: list[Work], faults: Faults, seed: int, die: float, jump: float) -> None:
    """1 quotas, 2 only our VMs, 3 no job killed, 4 nothing from partial sources, 12 no duplicate, 13 drains end, 15
    reasons."""
    world = World(policy, faults, seed=seed)
    stranger = world.instantiate("not-ours", SMALL, "")
    world.foreign.add(stranger.id)
    world.physical("p1", Shape(4, 8 * 2**30))
    world.submit_all(jobs)
    scaler = Scaler(policy, delay=0.3, die=die, jump=jump)

    def check(w: World) -> None:
        assert within(policy, w)  # 1
        assert scaler.last is not None
        assert scaler.seen is not None
        blind = not (scaler.seen.batch.complete and scaler.seen.cloud.complete)
        assert not blind or not scaler.last.actions  # 4
        for action in scaler.last.actions:
            assert getattr(action, "vm", -1) != stranger.id  # 2
            assert getattr(action, "node", "") != "p1"
            assert action.why  # 15
        waiting = {(j.shape, j.nodes) for j in scaler.seen.jobs if j.state == "waiting"}
        told = {(v.shape, v.nodes): v.reason.text for v in scaler.last.reasons.shapes}
        assert waiting == set(told)
        assert all(told.values())
        assert from_json(scaler.memory.to_json()) == scaler.memory

    run(world, scaler, 2 * HOUR, watch=check)
    assert world.killed == []  # 3
    requests = Counter(m.request for m in world.machines.values() if m.id != stranger.id)
    assert all(n == 1 for n in requests.values())  # 12
    assert {m.request for m in alive(world) if m.id != stranger.id} <= {f"sim-{n}" for n in range(99999)}


@settings(max_examples=30, suppress_health_check=SLOW)
@given(policies(), works(most=8), st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.5]))
def test_when_all_is_done_nothing_is_left(policy: Policy, jobs: list[Work], seed: int, die: float) -> None:
    """12, 13: whatever was interrupted, all jobs run and all VMs go, but for the least and the warm ones."""
    jobs = [replace(w, never=False, held=False, seconds=min(w.seconds, 300.0)) for w in jobs]
    world = World(policy, Faults(unanswered=0.1, lag=5.0), seed=seed)
    world.submit_all(jobs)
    scaler = Scaler(policy, delay=0.3, die=die)
    run(world, scaler, 7 * HOUR)
    kept = Counter(m.pool for m in alive(world))
    for pool in policy.pools:
        assert kept[pool.name] <= max(pool.min_vms, pool.warm_vms)
    assert [h for h in world.hosts.values() if h.vm >= 0 and world.machines[h.vm].gone is not None] == []
    assert [h.name for h in world.hosts.values() if h.draining] == []
    assert world.killed == []


@settings(max_examples=30, suppress_health_check=SLOW)
@given(st.data())
def test_a_plan_that_was_followed_is_followed_by_none(data: st.DataObject) -> None:
    """5: in a quiet world the next decision is empty."""
    policy = data.draw(policies())
    world = World(policy, Faults(boot=(1.0, 2.0)), seed=data.draw(st.integers(0, 2**32)))
    for wave in range(2):
        shape = data.draw(shapes)
        world.submit_all(Work(f"{wave}.{i}", shape, 0.0, 1e9) for i in range(data.draw(st.integers(0, 8))))
    scaler = Scaler(policy)
    run(world, scaler, 3 * HOUR)
    acted = decide(world.look(), scaler.memory, policy)
    assert acted.actions == ()
    world.random.seed(1)
    before = len(world.launches)
    run(world, scaler, 6 * HOUR)
    assert len(world.launches) == before


@pytest.mark.parametrize("shape", SHAPES[:6])
@pytest.mark.parametrize("alone", [True, False])
def test_a_job_that_fits_starts_soon(shape: Shape, *, alone: bool) -> None:
    """6: also when it is the only one."""
    policy = Policy((Pool("w", (SMALL, LARGE), quota=Quota(20)),))
    world = World(policy)
    world.submit(Work("mine", shape, 100.0, 60.0))
    if not alone:
        world.submit_all(Work(f"x{i}", SHAPES[0], 50.0, 600.0) for i in range(20))
    result = run(world, Scaler(policy), HOUR)
    assert world.works["mine"].started is not None
    assert result.unstarted == 0
    assert result.wait(1.0) < 45.0 + 3.0 + 1.0  # the slowest boot, the debounce


@settings(max_examples=30, suppress_health_check=SLOW)
@given(policies(), works(odd=False, most=10), st.integers(0, 2**32))
def test_every_job_that_fits_starts_in_the_end(policy: Policy, jobs: list[Work], seed: int) -> None:
    """6: with all kinds of jobs competing, in a site without faults."""
    jobs = [replace(w, seconds=min(w.seconds, 600.0)) for w in jobs]
    world = World(policy, seed=seed)
    world.submit_all(jobs)
    run(world, Scaler(policy), 10 * HOUR)
    for work in jobs:
        ways = [
            t for p in policy.pools for t in p.templates
            if t.shape.holds(work.shape) and _most(policy, p, t.shape) >= work.nodes
        ]  # fmt: skip
        if ways and not any(p.min_vms + p.warm_vms for p in policy.pools) and len(policy.pools) == 1:
            assert work.started is not None, work


def _most(policy: Policy, pool: Pool, shape: Shape) -> int:
    bounds = []
    for quota in (policy.quota, pool.quota):
        for most, each in ((quota.vms, 1), (quota.cores, shape.cores), (quota.memory, shape.memory)):
            bounds += [most // each] if most is not None else []
    return min(bounds)


@pytest.mark.parametrize("shape", IMPOSSIBLE)
def test_a_job_that_fits_nothing_starts_nothing(shape: Shape) -> None:
    """7"""
    policy = Policy((Pool("w", (SMALL, LARGE), quota=Quota(10)),))
    world = World(policy)
    world.submit_all(Work(f"i{i}", shape, 0.0, 60.0) for i in range(5))
    scaler = Scaler(policy)
    assert run(world, scaler, DAY).launches == 0
    assert scaler.last is not None
    assert [v.reason.what for v in scaler.last.reasons.shapes] == ["fits-nothing"]


@pytest.mark.parametrize("count", [1, 5, 40])
def test_a_job_that_never_starts_is_tried_six_times_a_day(count: int) -> None:
    """7: after the first wave, one VM at a time."""
    policy = Policy((Pool("w", (SMALL,), quota=Quota(10)),))
    world = World(policy)
    world.submit_all(Work(f"n{i}", SHAPES[0], 0.0, 60.0, never=True) for i in range(count))
    run(world, Scaler(policy), DAY)
    later = [at for at, _ in world.launches if at > 10.0]
    assert 1 <= len(later) <= 6
    assert len(world.launches) <= 10 + 6


@settings(max_examples=15, suppress_health_check=SLOW)
@given(st.integers(0, 2**32), st.sampled_from(["broken", "fizzling", "failing"]), st.integers(1, 40))
def test_a_broken_image_is_tried_rarely_and_recovers(seed: int, how: str, jobs: int) -> None:
    """8: at most 50 launches a day, and within one interval of trying after the repair all is well."""
    policy = Policy((Pool("w", (SMALL,), quota=Quota(10)),))
    bad = Faults(boot=(30.0, 60.0), **({how: frozenset({"small"})} if how != "failing" else {"refuse": 1.0}))  # type: ignore[arg-type]
    world = World(policy, bad, seed=seed)
    world.submit_all(Work(f"j{i}", SHAPES[0], 0.0, 60.0) for i in range(jobs))
    scaler = Scaler(policy)
    run(world, scaler, DAY)
    assert len(world.launches) <= 50
    assert scaler.cycles < 3000
    world.faults = Faults()
    run(world, scaler, DAY + policy.delays[-1] + policy.come_alive_most + 600.0)
    assert world.queue == {}


@settings(max_examples=20, suppress_health_check=SLOW)
@given(st.floats(10.0, 3.0 * HOUR), st.integers(1, 20))
def test_a_slow_boot_never_becomes_a_livelock(boot: float, jobs: int) -> None:
    """9: however slow the image, up to the longest that the admin allows."""
    policy = Policy((Pool("w", (SMALL,), quota=Quota(10), timers=Timers(come_alive=300.0)),))
    world = World(policy, Faults(boot=(boot, boot)))
    world.submit_all(Work(f"j{i}", SHAPES[0], 0.0, 60.0) for i in range(jobs))
    run(world, Scaler(policy), 2 * DAY)
    assert world.queue == {}


def launched(snapshot: Snapshot, policy: Policy, shape: Shape | None = None) -> int:
    """How many cores the decision starts."""
    plan = decide(snapshot, Memory("m"), policy)
    return sum(a.shape.cores for a in plan.actions if isinstance(a, Start))


ONE_KIND = Policy((Pool("w", (SMALL,), quota=Quota(1000)),), starts=1000, trial=1000)


@settings(max_examples=400, suppress_health_check=SLOW)
@given(st.data())
def test_more_jobs_never_ask_for_less_and_more_room_never_for_more(data: st.DataObject) -> None:
    """10: for jobs of one shape, on one node each or several."""
    shape = data.draw(st.sampled_from(SHAPES[:4]))
    world = data.draw(snapshots(ONE_KIND, shape=st.just(shape)))
    asked = launched(world, ONE_KIND)
    more = replace(world, jobs=(*world.jobs, Job("z", shape, "waiting", 1, "", 1.0)))
    assert launched(more, ONE_KIND) >= asked
    for i, n in enumerate(world.nodes):
        roomier = replace(n, free=replace(n.free, cores=n.free.cores + 1, memory=n.free.memory + 2**31))
        nodes = (*world.nodes[:i], roomier, *world.nodes[i + 1 :])
        assert launched(replace(world, nodes=nodes), ONE_KIND) <= asked


@settings(max_examples=400, suppress_health_check=SLOW)
@given(st.data())
def test_order_and_time_of_day_do_not_matter(data: st.DataObject) -> None:
    """11"""
    policy = data.draw(policies())
    world = data.draw(snapshots(policy))
    plan = decide(world, Memory("m"), policy)
    mixed = replace(
        world,
        jobs=tuple(data.draw(st.permutations(world.jobs))),
        nodes=tuple(data.draw(st.permutations(world.nodes))),
        vms=tuple(data.draw(st.permutations(world.vms))),
    )
    assert decide(mixed, Memory("m"), policy) == plan
    shift = data.draw(st.floats(-1e8, 1e8).map(round))
    moved = replace(
        world,
        now=world.now + shift,
        batch=replace(world.batch, at=world.batch.at + shift),
        cloud=replace(world.cloud, at=world.cloud.at + shift),
        jobs=tuple(replace(j, since=j.since + shift) for j in world.jobs),
        vms=tuple(replace(v, start=v.start + shift) for v in world.vms),
    )
    assert decide(moved, Memory("m"), policy).actions == plan.actions


@settings(max_examples=300, suppress_health_check=SLOW)
@given(st.data())
def test_a_clock_that_jumps_ends_nothing(data: st.DataObject) -> None:
    """11, 4: after a step of any size the plan is the same as after a step of none."""
    policy = data.draw(policies())
    world = data.draw(snapshots(policy))
    first = decide(world, Memory("m"), policy)
    step = data.draw(st.sampled_from([-1e7, -3600.0, -1.0]))
    later = replace(
        world,
        now=world.now + step,
        batch=replace(world.batch, at=world.now + step),
        cloud=replace(world.cloud, at=world.now + step),
    )
    still = decide(replace(world), first.memory, policy)
    assert decide(later, first.memory, policy).actions == still.actions


@settings(max_examples=300, suppress_health_check=SLOW)
@given(st.data())
def test_old_and_partial_sources_change_nothing(data: st.DataObject) -> None:
    """4"""
    policy = data.draw(policies())
    world = data.draw(snapshots(policy))
    name = data.draw(st.sampled_from(["batch", "cloud"]))
    source = getattr(world, name)
    bad = data.draw(
        st.sampled_from([
            replace(source, complete=False, why="cut"),
            replace(source, at=world.now - policy.stale_after - 1),
            replace(source, at=world.now + 100.0),
        ])
    )  # fmt: skip
    memory = Memory("m")
    plan = decide(replace(world, **{name: bad}), memory, policy)
    assert (plan.actions, plan.memory) == ((), memory)
    assert plan.reasons.hold is not None


def test_mass_loss_holds_everything_until_it_must_be_true() -> None:
    """4: a batch system that forgets all nodes, or OpenNebula all VMs."""
    policy = Policy((Pool("w", (SMALL,), quota=Quota(10)),))
    for side in ("nodes", "vms"):
        world = World(policy)
        world.submit_all(Work(f"j{i}", SHAPES[2], 0.0, 1e6) for i in range(8))
        scaler = Scaler(policy)
        run(world, scaler, 600.0)
        assert len(world.launches) == 8
        memory, held = scaler.memory, 0
        for minute in range(11, 200):
            world.advance(60.0 * minute)
            seen = replace(world.look(), **{side: ()})
            plan = decide(seen, memory, policy)
            memory = plan.memory
            if plan.reasons.hold is None:
                break
            assert plan.actions == ()
            held += 1
        assert 55 <= held <= 65  # loss_hold is an hour
        restored = decide(world.look(), scaler.memory, policy)
        assert restored.actions == ()


def test_drains_end() -> None:
    """13: also when the batch system never does it, or a job slips in."""
    policy = Policy((Pool("w", (SMALL,), quota=Quota(10), timers=Timers(keep_alive=60.0)),))
    world = World(policy)
    world.submit(Work("j", SHAPES[0], 0.0, 60.0))
    scaler = Scaler(policy)
    drain = world._drain
    world._drain = lambda _action: None  # type: ignore[method-assign, assignment]
    seen: list[type] = []
    run(world, scaler, HOUR, watch=lambda _: seen.extend(type(a) for a in scaler.last.actions) if scaler.last else None)
    assert Undrain in seen
    assert Terminate not in seen
    world._drain = drain  # type: ignore[method-assign]
    run(world, scaler, 2 * HOUR)
    assert alive(world) == []


def test_a_job_that_slips_in_undrains() -> None:
    """3, 13"""
    policy = Policy((Pool("w", (SMALL,), quota=Quota(10), timers=Timers(keep_alive=60.0)),))
    world = World(policy)
    world.submit(Work("j", SHAPES[0], 0.0, 60.0))
    scaler = Scaler(policy)
    original = world._drain

    def late(action: Drain) -> None:
        world.submit(Work("k", SHAPES[0], world.now, 500.0))
        world.advance(world.now)
        original(action)

    world._drain = late  # type: ignore[method-assign, assignment]
    kinds: list[str] = []
    run(world, scaler, 400.0, watch=lambda _: kinds.extend(a.id for a in scaler.last.actions) if scaler.last else None)
    assert kinds[:3] == ["start:sim-1", "drain:0", "undrain:0"]
    assert world.killed == []


@settings(max_examples=200, suppress_health_check=SLOW)
@given(st.data())
def test_the_least_and_the_warm_are_kept_or_the_reason_is_told(data: st.DataObject) -> None:
    """14"""
    policy = data.draw(policies())
    world = data.draw(snapshots(policy))
    plan = decide(world, Memory("m"), policy)
    for pool, view in zip(policy.pools, plan.reasons.pools):
        new = sum(isinstance(a, Start) and a.pool == pool.name for a in plan.actions)
        drained = sum(isinstance(a, Drain) and a.pool == pool.name for a in plan.actions)
        if view.ready + view.coming + new - drained < pool.min_vms:
            assert view.reason.what == "short"
            assert view.reason.text


@settings(max_examples=400, suppress_health_check=SLOW)
@given(st.data())
def test_no_more_is_started_than_is_needed(data: st.DataObject) -> None:
    """17: at most what the waiting jobs need, and one VM per shape."""
    policy = data.draw(policies())
    policy = replace(policy, pools=tuple(replace(p, min_vms=0, warm_vms=0) for p in policy.pools))
    world = data.draw(snapshots(policy))
    starts = [a for a in decide(world, Memory("m"), policy).actions if isinstance(a, Start)]
    pieces = Counter({(j.shape, j.nodes): 0 for j in world.jobs})
    for j in world.jobs:
        pieces[j.shape, j.nodes] += j.nodes
    assert len(starts) <= sum(pieces.values())
    whole = {k for k in pieces if k[0].whole or k[1] > 1}
    if not whole:  # jobs that share nothing need as many VMs as they say
        big = max((a.shape.cores for a in starts), default=0)
        need = sum(n * s.cores for (s, _), n in pieces.items())
        memory = sum(n * s.memory for (s, _), n in pieces.items())
        waste = 2 * (need + memory / 2**31)  # a VM that is full of memory may be half empty of cores
        assert (
            sum(a.shape.cores for a in starts)
            <= waste + len(pieces) * big + sum(n for (s, _), n in pieces.items() if s.gpus) * 8
        )


def test_booting_vms_count_once() -> None:
    """1, 17: a second burst is served as the first, and the first not twice."""
    policy = Policy((Pool("w", (SMALL,), quota=Quota(4)),))
    world = World(policy, Faults(boot=(300.0, 300.0)))
    world.submit_all(Work(f"a{i}", SHAPES[0], 10.0, 60.0) for i in range(8))
    world.submit_all(Work(f"b{i}", SHAPES[0], 200.0, 60.0) for i in range(8))
    run(world, Scaler(policy), 600.0)
    assert [round(at) for at, _ in world.launches] == [10, 10, 200, 200]

"""A template whose VMs never join is tried ever more rarely, and is itself again after one success.  Pure.

    closed      VMs start as demand wants, `trial` at a time until the first has joined
    open        boots failed: nothing starts until the delay is over
    half-open   the delay is over: one VM at a time, until one joins

Failures of VMs that were started before the last counted failure belong to the same wave: they teach nothing new.  Nor
does one of which a sibling, started no earlier, has joined: the template is good then.  A VM that joins and soon dies
is no success, but only the second in a row counts: jobs may kill a VM.
"""

from __future__ import annotations

import math
from dataclasses import replace

from vafnebula.scale.clock import span
from vafnebula.scale.memory import Breaker
from vafnebula.scale.model import Policy, Reason, Shape, Timers

REMEMBERED = 20


def key(pool: str, template: str) -> str:
    return f"{pool}/{template}"


def failed(breaker: Breaker, started: float, clock: float, why: str, *, late: bool) -> Breaker:
    """After a VM that was `started` then did not join; `late` when it merely ran out of time."""
    if started <= breaker.proof or (breaker.failures and started <= breaker.last):
        return breaker
    grown = breaker.late + 1 if late else breaker.late
    return replace(breaker, failures=breaker.failures + 1, last=clock, late=grown, why=why)


def fizzled(breaker: Breaker, started: float, clock: float, why: str) -> Breaker:
    """After a VM joined and died before it had done any good."""
    if breaker.fizzled and started <= breaker.last:
        return breaker
    return replace(breaker, fizzled=breaker.fizzled + 1, last=clock, why=why)


def joined(breaker: Breaker, started: float, seconds: float) -> Breaker:
    """After a VM that was `started` then joined, `seconds` after it had a host."""
    boots = (*breaker.boots, seconds)[-REMEMBERED:]
    return replace(breaker, failures=0, late=0, boots=boots, proof=max(breaker.proof, started))


def taught(breaker: Breaker, claimed: Shape, seen: Shape) -> Breaker:
    """After a VM of a template that was to offer `claimed` came up as `seen`: jobs will be measured by that.

    Without this a job of 8 GiB would start one VM of 8 GiB after the other, each of which has 7.8 for jobs.
    """
    sizes = (min(claimed.cores, seen.cores), min(claimed.memory, seen.memory), min(claimed.gpus, seen.gpus))
    queues, old = seen.queues or claimed.queues, breaker.real
    if (
        old is not None
        and breaker.claimed == claimed
        and (old.cores, old.memory, old.gpus) == sizes
        and (old.features, old.queues) == (seen.features, queues)
    ):
        return breaker
    real = Shape(*sizes, seen.features, queues)
    return replace(breaker, claimed=claimed, real=real)


def offer(breaker: Breaker, claimed: Shape) -> Shape:
    """What a VM of a template offers to jobs, as far as is known."""
    return breaker.real if breaker.real is not None and breaker.claimed == claimed else claimed


def served(breaker: Breaker) -> Breaker:
    """After a VM was free again after a job, or lived long enough."""
    return replace(breaker, fizzled=0) if breaker.fizzled else breaker


def come_alive(breaker: Breaker, timers: Timers, policy: Policy) -> float:
    """Seconds that a boot may take: the admin's least, 3 x the 95th percentile of what was seen, doubled per wave that
    was late, so that a slow image cannot be killed for ever just before it joins."""
    seen = sorted(breaker.boots)
    usual = 3 * seen[math.ceil(0.95 * len(seen)) - 1] if seen else 0.0
    return min(max(timers.come_alive * float(2 ** min(breaker.late, 10)), usual), policy.come_alive_most)


def allowance(breaker: Breaker, coming: int, clock: float, policy: Policy) -> tuple[int, Reason]:
    """How many VMs may start while `coming` have not joined yet, and the state of the breaker."""
    level = max(breaker.failures, breaker.fizzled - 1)
    if not level:
        if breaker.boots:
            return max(0, policy.booting - coming), Reason("closed", f"works; at most {policy.booting} boot at a time")
        return max(0, policy.trial - coming), Reason(
            "untried", f"no VM of it has joined yet: at most {policy.trial} until one has"
        )
    what = f"{level} time{'s' * (level != 1)} in a row {breaker.why}"
    wait = breaker.last + policy.delays[min(level, len(policy.delays)) - 1] - clock
    if wait > 0:
        return 0, Reason("open", f"{what}; next try in {span(wait)}")
    return max(0, 1 - coming), Reason("half-open", f"{what}; one VM is tried at a time until one works")

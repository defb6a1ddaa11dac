"""One order to many nodes at once: one ssh each, never more than so many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from vafnebula import __version__, errors, ssh
from vafnebula.config import Site
from vafnebula.model import Order

PARALLEL = 8


@dataclass(frozen=True)
class Answer:
    """What came back: facts, or the error of errors.py that node or ssh gave."""

    host: str
    request: Any
    facts: dict[str, Any] = field(default_factory=dict)
    error: errors.Error | None = None


def one(host: str, request: Any, site: Site) -> Answer:
    """Ask one node.  Never raises errors.Error: it is part of the answer."""
    sds = getattr(request, "sds", None)
    if sds is None and getattr(request, "disk", None) is not None:
        sds = request.disk.sds
    settings = site.default if sds is None else site.storage(sds)
    try:
        return Answer(host, request, ssh.ask(host, Order(__version__, request, settings), site).facts)
    except errors.Error as e:
        return Answer(host, request, error=e)


def everyone(
    jobs: Sequence[tuple[str, Any]],
    site: Site,
    *,
    parallel: int = PARALLEL,
    began: Callable[[str, Any], None] = lambda host, request: None,
    ended: Callable[[Answer], None] = lambda answer: None,
) -> list[Answer]:
    """Carry out `jobs` (host, request): at most `parallel` nodes at a time, each one order after the other.

    `began` and `ended` are called as things happen, from other threads.  The answers come in the order of the jobs.
    """
    by_host: dict[str, list[int]] = {}
    for number, (host, _) in enumerate(jobs):
        by_host.setdefault(host, []).append(number)
    answers: dict[int, Answer] = {}

    def work(host: str, numbers: Sequence[int]) -> None:
        for number in numbers:
            began(host, jobs[number][1])
            answers[number] = one(host, jobs[number][1], site)
            ended(answers[number])

    with ThreadPoolExecutor(max_workers=max(1, parallel)) as pool:
        for future in [pool.submit(work, host, numbers) for host, numbers in by_host.items()]:
            future.result()
    return [answers[number] for number in range(len(jobs))]

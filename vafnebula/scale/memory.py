"""All that decide remembers from cycle to cycle.  Frozen, small, and JSON: whoever runs the loop keeps it safe.

Times are of the memory's own clock (clock.py), in seconds of observed time, except `now`.  Losing the memory loses
timers and learned boot times, never VMs: those are adopted by their labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from vafnebula import errors
from vafnebula.scale.model import Shape


@dataclass(frozen=True)
class Request:
    """A VM that was asked for and that no snapshot has shown yet."""

    id: str
    pool: str
    template: str
    shape: Shape
    at: float


@dataclass(frozen=True)
class VmMemory:
    """What happened to a VM, each as the time when it was first seen, None when it was not.

    `seen`: in OpenNebula; `booted`: given a host; `joined`: its node up; `idle`: without job, since; `served`: it ever
    had one; `proven`: it was free again after a job, or lived long enough; `lost`: its node down or absent, since;
    `drained`: we decided to drain it; `stopped`: to terminate it, last; `failed`: OpenNebula says so, or its time was
    up; `gone`: OpenNebula does not list it any more; `removed`: we asked the batch system to forget its node, last.
    """

    id: int
    pool: str
    template: str
    request: str
    seen: float
    node: str = ""
    booted: float | None = None
    joined: float | None = None
    idle: float | None = None
    served: bool = False
    proven: bool = False
    last_busy: float = 0.0
    lost: float | None = None
    drained: float | None = None
    stopped: float | None = None
    failed: float | None = None
    gone: float | None = None
    removed: float | None = None


@dataclass(frozen=True)
class Breaker:
    """A template's history: boot failures in a row, the clock of the last, and recent seconds from boot to join.

    `late` counts waves of boots in a row that ran out of time, each of which doubles the next one's.  `fizzled` counts
    VMs in a row that joined and soon died, with their first jobs.  `proof` is the latest start of a VM that joined.
    `real` is what such a VM turned out to offer when the policy claimed `claimed`.
    """

    failures: int = 0
    last: float = 0.0
    late: int = 0
    fizzled: int = 0
    proof: float = -1.0
    boots: tuple[float, ...] = ()
    why: str = ""
    claimed: Shape | None = None
    real: Shape | None = None


@dataclass(frozen=True)
class ShapeMemory:
    """Whether jobs of a shape start when they could.

    `since`: slots were free for them and none started, since; `level` 0: nothing is wrong, 1: free slots of machines
    that are not ours do not count for it, 2 and more: futile until `until`.  `head` and `running` notice progress.
    """

    head: str
    waiting: int
    running: int
    since: float | None = None
    level: int = 0
    until: float = 0.0


@dataclass(frozen=True)
class Memory:
    """`farm` makes request ids unique to this memory; `now` is the wall-clock time of the last snapshot.

    `hold`: nothing is changed since so many VMs were lost at once.  `strays`: nodes that we drained, whose VM nobody
    knows, since when.
    """

    farm: str
    serial: int = 0
    now: float | None = None
    clock: float = 0.0
    hold: float | None = None
    requests: Mapping[str, Request] = field(default_factory=dict)
    vms: Mapping[int, VmMemory] = field(default_factory=dict)
    breakers: Mapping[str, Breaker] = field(default_factory=dict)
    shapes: Mapping[str, ShapeMemory] = field(default_factory=dict)
    strays: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return _FORM.dump_json(self)


_FORM = TypeAdapter(Memory)


def from_json(text: bytes) -> Memory:
    """Raises BadArgument for anything that to_json did not write."""
    try:
        return _FORM.validate_json(text)
    except ValidationError as e:
        why = str(e.errors(include_url=False)[0]["msg"])
        raise errors.BadArgument(what="memory", value="JSON", why=why) from None

"""Batch systems: what all adapters have in common.

An adapter is one file: pure `parse_*` functions that never raise, whatever bytes they are given, and thin commands
through `process.run`.  What cannot be understood makes the view incomplete: nothing is then shrunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vafnebula import errors, process
from vafnebula.scale.model import Job, Node


@dataclass(frozen=True)
class BatchView:
    """Jobs and nodes as one look found them; `complete` False says in `why` what was missing or not understood."""

    jobs: tuple[Job, ...] = ()
    nodes: tuple[Node, ...] = ()
    complete: bool = True
    why: str = ""


class Run(Protocol):
    """process.run, or what a test puts in its place."""

    def __call__(
        self,
        argv: list[str],
        *,
        timeout: float | None,
        input: bytes | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> process.Completed: ...


class Batch(Protocol):
    """A batch system.  `observe` never raises; the others raise errors.Error, and can be repeated."""

    def __init__(self, options: Mapping[str, str] | None = None, run: Run = process.run) -> None: ...

    def observe(self) -> BatchView: ...

    def drain(self, node: str, reason: str) -> None:
        """Give `node` no further jobs and note `reason` (which begins with DRAIN_MARK).  What runs there goes on."""

    def undrain(self, node: str) -> None: ...

    def remove(self, node: str) -> None:
        """Delete the node.  A node that does not exist is no error."""


SYSTEMS = ("slurm", "torque", "openpbs", "htcondor")


def make(system: str, options: Mapping[str, str] | None = None, run: Run = process.run) -> Batch:
    """The adapter of batch system `system`, one of SYSTEMS.  Raises BadArgument."""
    from vafnebula.scale.batch import htcondor, openpbs, slurm, torque

    kinds: dict[str, type[Batch]] = {
        "slurm": slurm.Slurm,
        "torque": torque.Torque,
        "openpbs": openpbs.OpenPbs,
        "htcondor": htcondor.HtCondor,
    }
    if system not in kinds:
        raise errors.BadArgument(what="batch system", value=system, why=f"not one of {', '.join(SYSTEMS)}")
    return kinds[system](options, run)

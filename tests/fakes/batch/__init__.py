"""Slurm, TORQUE, OpenPBS and HTCondor as commands: each speaks its own format about a simulated site.

In a test, `Speaker` is what an adapter gets for process.run; program.py makes real programs of the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from tests.fakes.batch import condor, pbspro, slurmish, torquish
from vafnebula import errors, process
from vafnebula.scale.model import Job, Node


class Site(Protocol):
    """What a batch system knows and does."""

    def jobs(self) -> list[Job]: ...
    def nodes(self) -> list[Node]: ...
    def drain(self, node: str, note: str) -> bool:
        """Whether it was done: not when there is no such node."""

    def undrain(self, node: str) -> bool: ...
    def remove(self, node: str) -> bool: ...


Answer = Callable[[Site, list[str], bytes], tuple[int, str, str]]
DIALECTS: Mapping[str, Answer] = {
    "slurm": slurmish.answer,
    "torque": torquish.answer,
    "openpbs": pbspro.answer,
    "htcondor": condor.answer,
}


class Speaker:
    """The commands of one batch system, without processes."""

    def __init__(self, system: str, site: Site) -> None:
        self.answer, self.site = DIALECTS[system], site

    def __call__(
        self,
        argv: list[str],
        *,
        timeout: float | None,
        input: bytes | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> process.Completed:
        code, out, err = self.answer(self.site, argv, input or b"")
        done = process.Completed(tuple(argv), code, out.encode(), err.encode())
        if check and code:
            raise errors.CommandFailed(program=argv[0], code=code, why=done.why)
        return done

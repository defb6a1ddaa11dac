"""A disk that misbehaves while the node runs: another table in the device below each PV.

Only for a lab made with `faults`.  Every data disk of the node is switched together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vafnebula.lab.errors import BadSpec, LabError
from vafnebula.lab.spec import Spec
from vafnebula.process import Completed

TABLES = {
    "none": "0 {sectors} linear {device} 0",
    # good for 1 s, then every read and write fails for 1 s
    "flakey": "0 {sectors} flakey {device} 0 1 1",
    # every request waits 100 ms
    "delay": "0 {sectors} delay {device} 0 100",
    "error": "0 {sectors} error",
}
ALIASES = {"flaky": "flakey", "linear": "none", "ok": "none"}


def switch(spec: Spec, kind: str, root: Callable[[Sequence[str]], Completed]) -> None:
    """Give every data disk the behaviour `kind`; `root` runs a command as root on the node.

    Raises BadSpec for an unknown kind, LabError for a lab without fault devices.
    """
    kind = ALIASES.get(kind, kind)
    if kind not in TABLES:
        raise BadSpec(what="fault", value=kind, why=f"choose {', '.join(('flaky', 'delay', 'error', 'none'))}")
    if not spec.faults:
        raise LabError(what="fault", why="its disks cannot misbehave", advice="make the lab with --faults")
    for sds, device in zip(spec.sds, "bcde"):
        path = f"/dev/{'ubd' if spec.backend == 'uml' else 'vd'}{device}"
        sectors = spec.disk // 512
        table = TABLES[kind].format(sectors=sectors, device=path)
        name = f"fault-{sds}"
        root(["dmsetup", "load", "--noudevsync", name, "--table", table])
        # without --noflush and --nolockfs a switch away from a failing table would wait for it
        root(["dmsetup", "suspend", "--noflush", "--nolockfs", "--noudevsync", name])
        root(["dmsetup", "resume", "--noudevsync", name])

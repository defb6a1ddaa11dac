"""The default backend: User-Mode Linux, Debian's kernel as an ordinary process."""

from __future__ import annotations

from pathlib import Path

from vafnebula.lab.errors import LabError
from vafnebula.lab.spec import INSIDE, Spec

PROGRAM = "/usr/bin/linux.uml"
MODULES = Path("/usr/lib/uml/modules")


def kernel_version() -> str:
    """The version of UML's kernel, from its modules.  Raises LabError."""
    found = sorted(p.name for p in MODULES.glob("*") if p.is_dir())
    if not found:
        raise LabError(what="UML", why=f"no modules in {MODULES}", advice="install user-mode-linux again")
    return found[-1]


def argv(spec: Spec, node: str) -> list[str]:
    """The machine: root through hostfs, the first disk with /var/lib/one, then one per system datastore.

    A disk's flag `t` takes discard away from it: with it mkfs passes every block to the host.
    """
    own = INSIDE / node
    images = ["home.img", *spec.data_disks.values()]
    return [
        PROGRAM,
        f"mem={spec.mem}M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={INSIDE}/guest/stage1-uml",
        f"lab_dir={own}",
        f"umid={node}",
        f"uml_dir={own}/uml/",
        "con=null",
        "con0=null,fd:1",
        "quiet",
        "noreboot",
        "panic=1",
        f"vec0:transport=tap,ifname=tap-{node},depth=64,gro=1,mac={spec.mac(node)}",
        *(f"ubd{letter}t={own}/{image}" for letter, image in zip("abcde", images)),
    ]

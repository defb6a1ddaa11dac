"""The second backend: QEMU without KVM and Debian's stock kernel."""

from __future__ import annotations

from vafnebula.lab.spec import Spec


def argv(spec: Spec, node: str) -> list[str]:
    """The machine's argument list."""
    raise NotImplementedError(f"{spec.backend} {node}")

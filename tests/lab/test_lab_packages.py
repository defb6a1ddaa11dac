"""A lab names what is missing, and the installer installs all that a lab may miss."""

from __future__ import annotations

from pathlib import Path

import pytest

from vafnebula.lab import packages
from vafnebula.lab.errors import LabError

ALL = {**packages.LAB, **packages.GLUSTER, **packages.QEMU, **packages.UDEV}


def test_the_installer_knows_every_package() -> None:
    words = (Path(__file__).parents[2] / "share/install/lab.sh").read_text().replace("'", " ").split()
    assert [name for name in ALL if name not in words and name != "python3-minimal"] == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.GLUSTER, "glusterfs-server", "/nowhere/glusterd")
    packages.require(backend="uml", udev=False, gluster=False)
    with pytest.raises(LabError, match="missing glusterfs-server; run `apt-get install glusterfs-server`"):
        packages.require(backend="uml", udev=False, gluster=True)

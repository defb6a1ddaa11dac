"""Stub and node half together: the fake ssh runs the remote command here, as sshd would.

No LVM is touched: what can be told without it are the refusals, and they must arrive as the one line.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.frontend import CHECKOUT, Frontend
from tests.contract.test_stubs import CLONE, DELETE, MKIMAGE, failed
from tests.fakes.oned import Oned


@pytest.fixture
def here(tmp_path: Path, oned: Oned, bytecode: Path) -> Frontend:
    """A front-end whose node is this machine, with a package of its own and empty datastores."""
    made = Frontend(tmp_path / "one", oned.url, bytecode)
    package = tmp_path / "node/vafnebula"
    package.mkdir(parents=True)
    (package / "__main__.py").symlink_to(CHECKOUT / "mads/vafnebula/__main__.py")
    (package / "vafnebula").symlink_to(CHECKOUT / "vafnebula")
    (tmp_path / "locks").mkdir()
    made.configure(f"[storage]\nlock_dir = {tmp_path}/locks\n[frontend]\nremote_dir = {tmp_path}/node\n")
    return made


def at(root: Path, call: tuple[str, ...]) -> list[str]:
    """`call` with its paths below `root`, where nothing of this machine lives."""
    return [word.replace("/var/lib/one/", f"{root}/") for word in call]


def test_an_image_that_is_not_there(here: Frontend, tmp_path: Path) -> None:
    line = failed(here, *at(tmp_path, CLONE))
    assert line.startswith("clone of disk 0 on node1: image cannot be read on the node: No such file or directory (")
    assert f"({tmp_path}/datastores/101/" in line


def test_a_node_of_another_version(here: Frontend, tmp_path: Path) -> None:
    package = tmp_path / "node/vafnebula/vafnebula"
    package.unlink()
    package.mkdir()
    for source in (CHECKOUT / "vafnebula").iterdir():
        if source.name != "__init__.py":
            (package / source.name).symlink_to(source)
    (package / "__init__.py").write_text('__version__ = "0.0.9"\n')
    line = failed(here, *at(tmp_path, CLONE))
    assert "the node package is version 0.0.9" in line
    assert "onehost sync -f" in line


def test_no_node_package(here: Frontend, tmp_path: Path) -> None:
    (tmp_path / "node/vafnebula/__main__.py").unlink()
    assert "onehost sync -f" in failed(here, *at(tmp_path, DELETE))


def test_no_python_on_the_node(here: Frontend, tmp_path: Path) -> None:
    here.configure("[frontend]\npython = /nonexistent/python3\n")
    assert "/nonexistent/python3" in failed(here, *at(tmp_path, MKIMAGE))

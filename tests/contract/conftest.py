from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.frontend import CHECKOUT, Frontend
from tests.fakes.oned import Oned


@pytest.fixture
def oned() -> Iterator[Oned]:
    """OpenNebula with VM 3 (with hot-attached disks) and VM 20."""
    data = CHECKOUT / "tests/data/vm"
    with Oned([data / "vm-running-after-attach.xml", data / "vm-tm-mad-system-running.xml"]) as server:
        yield server


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first stub compiles, and every later one loads."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def frontend(tmp_path: Path, oned: Oned, bytecode: Path) -> Frontend:
    """A front-end of that OpenNebula, whose nodes say that all went well."""
    made = Frontend(tmp_path / "one", oned.url, bytecode)
    made.reply()
    return made

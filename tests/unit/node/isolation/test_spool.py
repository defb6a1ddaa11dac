from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from tests.unit.node.isolation.strategies import NICS
from vafnebula import errors
from vafnebula.node.isolation import spool
from vafnebula.node.isolation.nics import Nic
from vafnebula.node.isolation.settings import Settings
from vafnebula.node.isolation.spool import Spool


@given(NICS)
def test_a_nic_reads_back(nic: Nic) -> None:
    assert spool.from_text(spool.to_text(nic), nic.tap) == nic


@given(NICS)
def test_what_is_damaged_is_refused(nic: Nic) -> None:
    text = spool.to_text(nic)
    for damaged in ("", text[:40], text.replace("mac ", "mac x"), text.replace("-nic 1", "-nic 2")):
        with pytest.raises(errors.BadArgument, match=f"state of '{nic.tap}'|mac"):
            spool.from_text(damaged, nic.tap)
    with pytest.raises(errors.BadArgument):
        spool.from_text(text, "one-0-99")


def test_a_directory_that_cannot_be_made_stops_pre(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(errors.BadConfig, match=r"state_dir = .* cannot be written"),
        Spool(Settings(state_dir=str(tmp_path / "file/state")), alone=False),
    ):
        pass

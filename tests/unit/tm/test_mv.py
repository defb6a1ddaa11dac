"""Which way a mv goes, from the call and the VM's history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.one.test_xml import recorded
from vafnebula import errors
from vafnebula.config import Site
from vafnebula.model import Clone, MakeSwap, Settings
from vafnebula.one import xml
from vafnebula.tm import argv, mv, parked

DS = "/var/lib/one/datastores"
HISTORY = ((0, "node1", 100), (1, "node2", 100))


def vm(**changes: Any) -> xml.Vm:
    known = xml.vm(recorded("vm-running"), 3)
    return replace(known, seq=1, host="node2", history=HISTORY, **changes)


def way(
    monkeypatch: pytest.MonkeyPatch, source: str, destination: str, record: xml.Vm, site: Site | None = None
) -> Any:
    """What perform does: the name of a way, or the request that goes to the destination."""
    taken: list[Any] = []

    def take(what: Any) -> Any:
        def note(call: argv.Call, *rest: Any, **_: Any) -> Mapping[str, object]:
            taken.append(what or rest[0])
            return {}

        return note

    monkeypatch.setattr(parked, "keep", take("keep"))
    monkeypatch.setattr(parked, "bring_back", take("bring back"))
    monkeypatch.setattr(mv, "order", take(None))
    datastore = "101" if "disk.0" in source or "disk.1" in source else destination.split("/")[5]
    call = argv.parse("mv", [source, destination, "3", datastore])
    facts = mv.perform(call, lambda: record, site or Site())
    return taken[0] if taken else facts["result"]


def test_the_same_place_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way(monkeypatch, f"node2:{DS}/100/3", f"node2:{DS}/100/3", vm()) == "there"


def test_a_migration_goes_to_the_destination_which_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    made = way(monkeypatch, f"node1:{DS}/100/3/disk.0", f"node2:{DS}/104/3/disk.0", vm())
    assert (made.verb, made.disk, made.seq, made.sds, made.source.host, made.source.sds) == (
        "mv",
        0,
        1,
        104,
        "node1",
        100,
    )
    made = way(monkeypatch, f"node2:{DS}/100/3/disk.0", f"node2:{DS}/104/3/disk.0", vm())
    assert made.source.host == "", "the same node needs no ssh"


def test_stop_and_resume_name_a_host_that_the_history_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way(monkeypatch, f"node2:{DS}/100/3", f"vm:{DS}/100/3", vm()) == "keep"
    assert way(monkeypatch, f"vm:{DS}/100/3", f"node2:{DS}/100/3", vm()) == "bring back"


@pytest.mark.parametrize("lcm", [60, 61])
def test_a_dead_source_is_refused(monkeypatch: pytest.MonkeyPatch, lcm: int) -> None:
    with pytest.raises(errors.SourceDead, match="node1 is taken for dead"):
        way(monkeypatch, f"node1:{DS}/100/3/disk.0", f"node2:{DS}/100/3/disk.0", vm(lcm=lcm))


def test_or_made_anew_where_the_site_wants_that(monkeypatch: pytest.MonkeyPatch) -> None:
    site, dead = Site(default=Settings(dead_source="recreate")), vm(lcm=60)
    made = way(monkeypatch, f"node1:{DS}/100/3/disk.0", f"node2:{DS}/100/3/disk.0", dead, site)
    assert isinstance(made, Clone)
    assert made.image.path.startswith(f"{DS}/101/")
    made = way(monkeypatch, f"node1:{DS}/100/3/disk.3", f"node2:{DS}/100/3/disk.3", dead, site)
    assert isinstance(made, MakeSwap)
    assert way(monkeypatch, f"node1:{DS}/100/3", f"node2:{DS}/100/3", dead, site) == "nothing"
    with pytest.raises(errors.SourceDead, match="disk 1 is persistent"):
        way(monkeypatch, f"node1:{DS}/100/3/disk.1", f"node2:{DS}/100/3/disk.1", dead, site)

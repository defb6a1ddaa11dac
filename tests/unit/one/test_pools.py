from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.oned import SESSION, Oned
from vafnebula import units
from vafnebula.one import pools
from vafnebula.one.api import Api, Away, Refused

DATA = Path(__file__).parents[2] / "data"
POOLS = {f"one.{kind}pool.info": f"{kind}-pool-list.xml" for kind in ("host", "datastore", "image")}


@pytest.fixture
def oned() -> Iterator[Oned]:
    with Oned([DATA / "vm/vm-running-after-attach.xml", DATA / "vm/vm-tm-mad-system-running.xml"]) as server:
        server.pools = {method: (DATA / "pools" / file).read_text() for method, file in POOLS.items()}
        yield server


@pytest.fixture
def api(oned: Oned) -> Api:
    return Api(oned.url, SESSION, "http://localhost:1")


def test_hosts(api: Api) -> None:
    found = {h.name: h for h in api.hosts()}
    assert {"node1", "node2", "localhost"} <= set(found)
    assert (found["node1"].id, found["localhost"].state) == (0, 4)
    assert found["node1"].room[100] > 0
    assert found["localhost"].room == {}


def test_datastores(api: Api) -> None:
    found = {d.id: d for d in api.datastores()}
    assert (found[100].kind, found[101].kind, found[2].kind, found[105].kind) == ("system", "image", "file", "backup")
    assert (found[100].driver, found[100].root) == ("trace", "/var/lib/one/datastores")
    assert found[100].attributes["SHARED"] == "NO"
    assert not any(d.ours for d in found.values())


def test_images(api: Api) -> None:
    [image] = [i for i in api.images() if i.id == 10]
    assert (image.name, image.datastore, image.size) == ("saved-snap-3", 101, 128 * units.MIB)
    assert image.source == "/var/lib/one/datastores/101/e7c9a7ba4443cb65cea761f97aa13224"
    assert not image.persistent


def test_vms_and_one_vm(api: Api) -> None:
    assert sorted(vm.id for vm in api.vms()) == [3, 20]
    vm = api.vm(3)
    assert vm is not None
    assert (vm.host, vm.sds, vm.seq, vm.steady) == ("node1", 100, 3, True)
    assert vm.disks[0]["CLONE"] == "YES"
    assert api.vm(4711) is None


@pytest.mark.parametrize(
    ("file", "state", "steady"),
    [
        ("vm-hold", 2, False),
        ("vm-running", 3, True),
        ("vm-poweroff-with-snapshots", 8, True),
        ("vm-undeployed", 9, False),
    ],
)
def test_when_nothing_is_about_to_change(file: str, state: int, steady: bool) -> None:
    vm = pools.vm((DATA / f"vm/{file}.xml").read_bytes())
    assert (vm.state, vm.steady) == (state, steady)


def test_a_done_vm_is_told_and_not_listed(api: Api, oned: Oned) -> None:
    oned.add((DATA / "vm/vm-done.xml").read_text())
    assert [vm.id for vm in api.vms()] == [20]
    vm = api.vm(3)
    assert vm is not None
    assert vm.state == pools.DONE


def test_who_may_not_look_is_refused(oned: Oned) -> None:
    """Not seeing a VM is not the same as its being gone."""
    stranger = Api(oned.url, "oneadmin:wrong", "http://localhost:1")
    for ask in (stranger.hosts, stranger.datastores, stranger.images, stranger.vms, lambda: stranger.vm(3)):
        with pytest.raises(Refused, match="authenticated"):
            ask()


@pytest.mark.parametrize(
    "answer", ["", "<HOST_POOL>", "<HOST_POOL><HOST><ID>x</ID></HOST></HOST_POOL>", "<!DOCTYPE a><a/>"]
)
def test_an_answer_that_cannot_be_read_is_an_error_of_ours(oned: Oned, api: Api, answer: str) -> None:
    oned.pools["one.hostpool.info"] = answer
    with pytest.raises(Away, match="the answer cannot be read"):
        api.hosts()

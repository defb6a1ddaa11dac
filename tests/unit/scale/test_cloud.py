"""cloud.py and one/vms.py against an XML-RPC server that keeps a world of VMs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.oned import SESSION, Raw
from tests.fakes.opennebula import ACTIVE, BOOT, DONE, RUNNING, Kind, OpenNebula
from vafnebula.one import rpc
from vafnebula.one.api import Service
from vafnebula.one.vms import Client, Refused, Unanswered, Unsent
from vafnebula.scale.cloud import BadNodeName, Cloud, NotOurs, happened, state_of
from vafnebula.scale.model import Shape, Start, Terminate
from vafnebula.units import MIB


@pytest.fixture
def one() -> Iterator[OpenNebula]:
    with OpenNebula({5: Kind("worker", vcpu=2, memory=2048), 6: Kind("big")}) as world:
        yield world


DATA = Path(__file__).parents[2] / "data/vm"


def client(one: OpenNebula, timeout: float = 10.0) -> Client:
    return Client(timeout, one.endpoint, lambda: SESSION)


def cloud(one: OpenNebula) -> Cloud:
    return Cloud(client(one), ["batch"])


def start(request: str = "r-1") -> Start:
    return Start("batch", "worker", 5, request, Shape(2), "a job waits")


def test_a_vm_is_started_with_its_labels_and_seen(one: OpenNebula) -> None:
    made = cloud(one).start(start())
    seen = cloud(one).look()
    assert one.vms[made].labels == {"VAF_POOL": "batch", "VAF_REQUEST": "r-1", "VAF_TEMPLATE": "worker"}
    assert seen.source.complete
    (vm,) = seen.vms
    assert (vm.id, vm.pool, vm.request, vm.template, vm.state) == (made, "batch", "r-1", "worker", "running")
    assert (vm.node, vm.host, vm.shape) == (f"vaf-{made}", "node1", Shape(2, 2048 * MIB))


def test_what_is_not_ours_is_not_seen_as_ours(one: OpenNebula) -> None:
    one.add(5)
    one.add(5, labels={"VAF_POOL": "other"})
    one.add(5, labels={"VAF_POOL": "batch", "VAF_REQUEST": "r-1"}, owner="mallory")
    seen = Cloud(client(one), ["batch"], everyone=True).look()
    assert seen.vms == ()
    assert len(seen.all) == 3
    assert len(cloud(one).look().all) == 2, "other users' VMs are not even listed"


@pytest.mark.parametrize(
    "facts",
    [
        {"labels": {}},
        {"labels": {"VAF_POOL": "other", "VAF_REQUEST": "r-1"}},
        {"labels": {"VAF_POOL": "batch", "VAF_REQUEST": "r-2"}},
        {"labels": {"VAF_POOL": "batch", "VAF_REQUEST": "r-1"}, "owner": "mallory"},
    ],
)
def test_what_is_not_ours_is_never_ended(one: OpenNebula, facts: dict[str, object]) -> None:
    vm = one.add(5, **facts)
    with pytest.raises(NotOurs):
        cloud(one).terminate(Terminate(vm.id, "", "batch", "r-1", True, "idle"))
    assert vm.state == ACTIVE
    assert one.calls["vm.action"] == 0


def test_a_vm_of_ours_is_ended_once_however_often_it_is_said(one: OpenNebula) -> None:
    made = cloud(one).start(start())
    order = Terminate(made, "", "batch", "r-1", False, "idle")
    assert cloud(one).terminate(order) == "told to shut down"
    assert cloud(one).terminate(order) == "it is ending already"
    assert one.vms[made].state == DONE
    assert cloud(one).look().vms == ()


def test_a_vm_in_the_middle_of_its_boot_is_deleted(one: OpenNebula) -> None:
    """terminate and terminate-hard are refused in PROLOG and BOOT."""
    made = cloud(one).start(start())
    one.vms[made].lcm = BOOT
    assert (
        cloud(one).terminate(Terminate(made, "", "batch", "r-1", True, "late")) == "deleted in the middle of its boot"
    )
    assert one.calls["vm.recover"] == 1


def test_nobody_there_means_nothing_was_done() -> None:
    with OpenNebula({5: Kind("worker")}) as one:
        gone = one.endpoint()
    nowhere = Cloud(Client(5, lambda: gone, lambda: SESSION), ["batch"])
    with pytest.raises(Unsent) as raised:
        nowhere.start(start())
    assert happened(raised.value) is False
    seen = nowhere.look()
    assert not seen.source.complete
    assert "cannot be reached" in seen.source.why


def test_a_lost_answer_means_that_nobody_knows(one: OpenNebula) -> None:
    one.lose.release()
    with pytest.raises(Unanswered) as raised:
        cloud(one).start(start())
    assert happened(raised.value) is None
    assert [vm.request for vm in cloud(one).look().vms] == ["r-1"], "it was made all the same"
    assert one.calls["template.instantiate"] == 1, "and not called twice"


def test_a_refusal_means_that_nothing_was_done(one: OpenNebula) -> None:
    one.refused["template.instantiate"] = "quota exceeded"
    with pytest.raises(Refused, match="quota exceeded") as raised:
        cloud(one).start(start())
    assert happened(raised.value) is False


def test_a_server_that_drips_is_left_at_the_deadline() -> None:
    with Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, pause=0.01) as raw:
        place = rpc.Endpoint("http", "127.0.0.1", int(raw.url.split(":")[2].split("/")[0]), "/RPC2")
        with pytest.raises(Unanswered, match="timed out"):
            Client(0.5, lambda: place, lambda: SESSION).vms()


def test_templates_have_names(one: OpenNebula) -> None:
    roles = [{"name": "old", "vm_template": 6}, {"name": "new", "template_id": 7}, {"name": "none"}]
    flow = [Service(1, "cluster", {"roles": roles})]
    wanted = {("big",), ("cluster", "old"), ("cluster", "new")}
    assert cloud(one).resolve(wanted, lambda: flow) == {("big",): 6, ("cluster", "old"): 6, ("cluster", "new"): 7}
    for missing in [("small",), ("cluster", "none"), ("farm", "old")]:
        with pytest.raises(Refused, match="there is none of that name"):
            cloud(one).resolve({missing}, lambda: flow)


@pytest.mark.parametrize(("raft", "leads"), [(0, True), (1, False), (2, False), (3, True)])
def test_only_the_leader_leads(one: OpenNebula, raft: int, leads: bool) -> None:
    one.raft = raft
    assert cloud(one).leads() is leads


@pytest.mark.parametrize(
    ("state", "lcm", "word"),
    [
        (1, 0, "pending"),
        (2, 0, "other"),
        (3, 1, "booting"),
        (3, 2, "booting"),
        (3, 3, "running"),
        (3, 16, "running"),
        (3, 17, "running"),
        (3, 12, "stopping"),
        (3, 11, "stopping"),
        (3, 36, "failed"),
        (3, 39, "failed"),
        (8, 0, "other"),
        (5, 0, "other"),
        (11, 0, "failed"),
    ],
)
def test_states(state: int, lcm: int, word: str) -> None:
    assert state_of(state, lcm) == word
    assert state_of(ACTIVE, RUNNING) == "running"


@pytest.mark.parametrize(
    ("recorded", "state", "host"),
    [
        ("vm-running", "running", "node1"),
        ("vm-running-after-attach", "running", "node1"),
        ("vm-hold", "other", ""),
        ("vm-poweroff-with-snapshots", "other", "node2"),
        ("vm-undeployed", "other", "node2"),
    ],
)
def test_what_oned_really_sent(one: OpenNebula, recorded: str, state: str, host: str) -> None:
    document = (DATA / f"{recorded}.xml").read_text()
    one._vmpool_infoextended = lambda *a: f"<VM_POOL>{document}</VM_POOL>"  # type: ignore[method-assign]
    one._server.register_function(one._serve("vmpool.infoextended"), "one.vmpool.infoextended")
    (vm,) = Cloud(client(one), ["batch"], everyone=True).look().all
    assert (state_of(vm.state, vm.lcm), vm.owner, vm.host) == (state, "oneadmin", host)
    assert vm.memory == 128 * MIB
    assert vm.cpu == 0.1


@pytest.mark.parametrize("pattern", ["worker", "{pool}", "{vm!r:{x}}-{vm}", "{0}", "a b {vm}", "vaf_{vm};"])
def test_bad_node_names_are_refused(one: OpenNebula, pattern: str) -> None:
    with pytest.raises(BadNodeName):
        Cloud(client(one), ["batch"], pattern)

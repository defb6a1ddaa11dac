"""The worker's side against a real OneGate-like server; the real ssh is in tests/lab/test_slurm_cluster.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.onegate import FakeVm, OneGate
from vafnebula import errors
from vafnebula.join import api, ask, onegate, vms
from vafnebula.join.ask import Head, NotYet
from vafnebula.join.onegate import Gate, Unanswered
from vafnebula.join.settings import Settings

KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43}"


def service(extended: bool = True) -> OneGate:
    machines = [FakeVm(40, "head", "172.16.1.10", "t40"), FakeVm(41, "worker", "172.16.1.11", "t41")]
    return OneGate(machines, extended=extended)


@pytest.mark.parametrize("extended", [True, False])
def test_what_is_published_is_read(extended: bool) -> None:
    with service(extended) as server:
        Gate(server.url, 41, "t41").publish({"VAF_PUBKEY": KEY})
        found = Gate(server.url, 40, "t40").vms()
    assert [(vm.id, vm.role, vm.addresses, vm.key) for vm in found] == [
        (40, "head", ("172.16.1.10",), ""),
        (41, "worker", ("172.16.1.11",), KEY),
    ]


def test_the_head_is_found_once_it_has_published(tmp_path: Path) -> None:
    with service() as server:
        gate = Gate(server.url, 41, "t41")
        with pytest.raises(NotYet):
            ask.find({}, gate)
        Gate(server.url, 40, "t40").publish({"VAF_HOST_KEY": KEY, "VAF_ADDRESS": "172.16.1.10"})
        assert ask.find({}, gate) == Head("172.16.1.10", KEY)
        server.vms[40].user["VAF_ADDRESS"] = "10.9.9.9"  # not an address that OpenNebula gave to it
        with pytest.raises(NotYet):
            ask.find({}, gate)
    assert ask.find({"VAF_HEAD": "head.example", "VAF_HEAD_KEY": KEY}, None) == Head("head.example", KEY)
    with pytest.raises(Unanswered):
        ask.find({}, None)


def test_onegate_that_says_no_or_nothing() -> None:
    with service() as server:
        with pytest.raises(Unanswered, match="401 Not authorized"):
            Gate(server.url, 41, "wrong").vms()
        with pytest.raises(errors.BadArgument):
            Gate(server.url, 41, "t41").publish({"A": 'x"\nB="y'})
    with pytest.raises(Unanswered):
        Gate(server.url, 41, "t41").vms()


@pytest.mark.parametrize("text", ["", "http://x 41", "http://x VM t"])
def test_a_file_that_names_no_gate(tmp_path: Path, text: str) -> None:
    (tmp_path / "gate").write_text(text)
    with pytest.raises(Unanswered, match="token: true"):
        onegate.load(str(tmp_path / "gate"))


def test_a_reply_is_kept_as_a_whole(tmp_path: Path) -> None:
    assert ask.keep("name vaf-41\nfile munge.key AAE=\n", tmp_path, Head("h", KEY)) == "vaf-41"
    assert ask.keep("name vaf-41\nfile a Yg==\n", tmp_path, Head("h", KEY)) == "vaf-41"
    kept = {p.name: p.read_bytes() for p in (tmp_path / "joined").iterdir()}
    assert kept == {"name": b"vaf-41", "head": b"h", "a": b"b"}
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "joined").iterdir()} == {0o600}


@pytest.mark.parametrize("reply", ["", "x", "name ../x\n", "name a\nfile ../b AAE=\n", "name vaf-1\nfile a A A\n"])
def test_a_reply_that_is_none(tmp_path: Path, reply: str) -> None:
    with pytest.raises(NotYet):
        ask.keep(reply, tmp_path, Head("h", KEY))
    assert not (tmp_path / "joined").exists()


def test_own_key_and_number_are_made_once(tmp_path: Path) -> None:
    first = ask.own_key(tmp_path).read_bytes()
    assert vms.well_formed(Path(f"{tmp_path}/key.pub").read_text())
    assert ask.own_key(tmp_path).read_bytes() == first
    assert ask.number(tmp_path) == ask.number(tmp_path)


POOL = b"""<VM_POOL>
<VM><ID>7</ID><UNAME>vaf</UNAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE>
<TEMPLATE><NIC><IP>172.16.1.11</IP></NIC><VCPU>4</VCPU></TEMPLATE>
<USER_TEMPLATE><VAF_CLUSTER>c</VAF_CLUSTER><VAF_ROLE>worker</VAF_ROLE></USER_TEMPLATE></VM>
<VM><ID>8</ID><UNAME>mallory</UNAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><TEMPLATE/>
<USER_TEMPLATE><VAF_CLUSTER>c</VAF_CLUSTER><VAF_ROLE>worker</VAF_ROLE></USER_TEMPLATE></VM>
</VM_POOL>"""


def test_the_api_shows_this_owners_vms_only() -> None:
    site = Settings(cluster="c", batch="slurm", network="172.16.1.0/24", owner="vaf")
    (vm,) = api.read(POOL, site)
    assert (vm.id, vm.role, vm.running, vm.addresses, vm.vcpu) == (7, "worker", True, ("172.16.1.11",), 4)
    with pytest.raises(ValueError, match="document type"):
        api.read(b"<!DOCTYPE x []><VM_POOL/>", site)

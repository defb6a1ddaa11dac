"""The programs of both backends, whole, for the cases an admin meets.  A change of a file here is a change of rules.

`VAFNEBULA_GOLDEN=write pytest tests/golden` writes them anew; read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vafnebula.node.isolation import ebtables, nft, nics, plan, vmxml
from vafnebula.node.isolation.settings import Settings

HERE = Path(__file__).parent
STDIN = HERE.parent / "data/vnm/stdin"
WORKER = {
    "NIC_ID": "0",
    "MAC": "02:00:ac:10:01:05",
    "IP": "172.16.1.5",
    "IP6_LINK": "fe80::acff:fe10:105",
    "BRIDGE": "onebr7",
    "TARGET": "one-7-0",
    "VN_MAD": "bridge",
    "VAF_MAC_CLASS": "02:00:ac:10:00:00/36",
    "VAF_EXTRA_MACS": "52:54:00:00:0a:fe 52:54:00:00:0a:10",
    "FILTER_IP_SPOOFING": "YES",
}
HEAD = {**WORKER, "VAF_EXTRA_SRC_MACS": "00:00:5e:00:01:00/40", "VAF_NIC_ROLE": "gateway"}
CASES = {
    "worker": (WORKER, Settings()),
    "gateway": (HEAD, Settings()),
    "observe": (WORKER, Settings(mode="observe", onegate=())),
}


def check(path: Path, program: str) -> None:
    if os.environ.get("VAFNEBULA_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(program)
    assert program == path.read_text()


def plans(nic: dict[str, str], site: Settings) -> tuple[plan.Plan, ...]:
    vm = vmxml.VmXml("7", (vmxml.Element("NIC", nic),), ())
    chosen = nics.select(vm, site, driver="bridge", allowed=None)
    return tuple(plan.make(n, site) for n in chosen.nics)


@pytest.mark.parametrize("name", CASES)
def test_nft(name: str) -> None:
    check(HERE / f"nft/{name}.nft", nft.program(plans(*CASES[name])))


@pytest.mark.parametrize("name", CASES)
def test_ebtables(name: str) -> None:
    check(HERE / f"ebtables/{name}.txt", ebtables.transition({}, ebtables.wanted({}, plans(*CASES[name]), ())))


def test_nft_removal() -> None:
    check(HERE / "nft/removal.nft", nft.program((), ("one-7-0",)))


def test_what_a_real_core_sent() -> None:
    """The deployment of tests/data/vnm: two NICs of driver `trace`, one with an alias of another network."""
    vm = vmxml.parse((STDIN / "16c6b7af.b64").read_bytes())
    site = Settings(addresses="strict")
    chosen = nics.select(vm, site, driver="trace", allowed=None)
    check(HERE / "nft/recorded.nft", nft.program(tuple(plan.make(n, site) for n in chosen.nics)))

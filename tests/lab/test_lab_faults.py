"""A node's disks flaky, slow, failing and good again, while it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vafnebula import errors
from vafnebula.lab import Lab

READ = "dd if=/dev/vg-one-100/probe of=/dev/null bs=4k count=16 iflag=direct 2>&1"


@pytest.fixture(scope="module")
def faulty(booted: Callable[..., Lab]) -> Lab:
    lab = booted("faults", nodes=1, disk="1G", gluster=False, faults=True, deployed=False)
    lab.sh("n1", "lvcreate -qq --yes -Wn -n probe -L 16M vg-one-100")
    return lab


def reads(lab: Lab) -> int:
    return lab.ssh("n1", ["sh", "-c", READ], user="root", check=False).code


def test_failing_and_good_again(faulty: Lab) -> None:
    assert reads(faulty) == 0
    faulty.fault("n1", "error")
    assert reads(faulty) != 0
    faulty.fault("n1", "none")
    assert reads(faulty) == 0
    assert faulty.sh("n1", "lvs --noheadings -o lv_name vg-one-100").split() == ["probe", "vaf-thinpool"]


def test_flaky_fails_sometimes(faulty: Lab) -> None:
    faulty.fault("n1", "flaky")
    seen = set()
    for _ in range(100):
        seen.add(reads(faulty) == 0)
        if len(seen) == 2:
            break
    faulty.fault("n1", "none")
    assert seen == {True, False}


def test_delay_is_in_force(faulty: Lab) -> None:
    faulty.fault("n1", "delay")
    table = faulty.sh("n1", "dmsetup table fault-100")
    assert reads(faulty) == 0
    faulty.fault("n1", "none")
    assert " delay " in table


def test_the_fault_device_is_there_after_a_power_cut(faulty: Lab) -> None:
    faulty.fault("n1", "error")
    faulty.cut("n1")
    faulty.boot("n1")
    assert reads(faulty) == 0
    faulty.fault("n1", "error")
    assert reads(faulty) != 0
    faulty.fault("n1", "none")


def test_unknown_fault(faulty: Lab) -> None:
    with pytest.raises(errors.RequestError, match="flaky, delay, error, none"):
        faulty.fault("n1", "slow")


def test_without_gluster_an_image_goes_to_every_node(faulty: Lab) -> None:
    path = faulty.put(faulty.datastore(1) / "img", b"plain\n")
    assert faulty.run(["cat", str(path)]).out == b"plain\n"
    assert faulty.ssh("n1", ["cat", str(path)]).out == b"plain\n"

"""The probes on a node with real LVM, run as OpenNebula's agent runs them; and that what they call free is admitted."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest

from tests.lab.test_guests import MODES, Site, content, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import Disk
from vafnebula.units import MIB

PROBES = "/var/tmp/one/im/kvm-probes.d"
DS = re.compile(r"DS = \[ ID = (\d+), USED_MB = (\d+), TOTAL_MB = (\d+), FREE_MB = (\d+) \]")


@pytest.fixture
def site(clean_lab: Lab) -> Iterator[Site]:
    with site_of(clean_lab) as made:
        yield made


def capacity(site: Site) -> dict[int, tuple[int, int, int]]:
    """used, total, free in MB by datastore."""
    out = site.lab.ssh(site.node, [f"{PROBES}/host/system/vafnebula_capacity"], input=b"<X/>").out.decode()
    found = {int(m[1]): (int(m[2]), int(m[3]), int(m[4])) for m in map(DS.fullmatch, out.splitlines()) if m}
    assert len(found) == len(out.splitlines())
    return found


def sizes(site: Site) -> dict[int, list[str]]:
    """What is said of each VM's disks."""
    out = site.lab.ssh(site.node, [f"{PROBES}/vm/monitor/vafnebula_disks"], input=b"<X/>").out.decode()
    found = re.findall(r'^VM = \[ ID = (\d+), MONITOR = "([^"]+)" \]$', out, re.MULTILINE)
    assert len(found) == len(out.splitlines())
    return {int(vm): base64.b64decode(text).decode().splitlines() for vm, text in found}


@MODES
def test_room_and_sizes_follow_what_happens(site: Site, sds: int) -> None:
    before = capacity(site)
    assert set(before) == {100, 200}
    used, total, free = before[sds]
    assert used + free == total
    assert 0 < free < total
    assert sizes(site) == {}

    image = site.image(f"probed-{sds}", content("probed", 24 * MIB))
    vm = site.vm(sds, Disk(0, image=image), Disk(1, size=64 * MIB))
    site.act("clone", vm)
    site.act("mkimage", vm, 1)
    after = capacity(site)[sds]
    assert after[1] == total
    assert free - after[2] >= 24 + 64, "full sizes are promised"
    [said] = sizes(site).values()
    assert [re.sub(r"SIZE=\d+\]", "", line) for line in said] == ["DISK_SIZE=[ID=0,", "DISK_SIZE=[ID=1,"]

    site.act("delete", vm, -1)
    assert sizes(site) == {}
    try:
        with site.configured("[storage]\ncache_min_age = 0\n"):
            site.lab.sync()
            assert free - 1 <= capacity(site)[sds][2] <= free, "a cached image that may go is free room"
    finally:
        site.lab.sync()
    monitor = site.sh("ls /var/lib/one/datastores/*/.monitor 2>/dev/null || :")
    assert monitor == "", "its presence would make OpenNebula's own probe report the root file system"


def test_what_is_free_is_admitted_and_then_nothing_is_free(site: Site) -> None:
    free = capacity(site)[200][2]
    vm = site.vm(200, Disk(0, size=(free - 1) * MIB))
    site.act("mkimage", vm)
    assert capacity(site)[200][2] == 0


def test_nothing_is_said_when_nothing_can_be_known(site: Site) -> None:
    site.sh("mv /etc/sudoers.d/vafnebula /run/vafnebula.away")
    try:
        assert capacity(site) == {}
        assert sizes(site) == {}
    finally:
        site.sh("mv /run/vafnebula.away /etc/sudoers.d/vafnebula")

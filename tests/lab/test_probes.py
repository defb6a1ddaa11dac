"""The probes on a node with real LVM, run as OpenNebula's agent runs them; and that what they call free is admitted."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest

from tests.lab.test_guests import THICK, THIN, Site, content, site_of
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


def test_room_and_sizes_follow_what_happens(site: Site) -> None:
    before = capacity(site)
    assert set(before) == {THIN, THICK}
    assert all(used + free == total and 0 < free < total for used, total, free in before.values())
    assert sizes(site) == {}

    image = site.image("probed", content("probed", 24 * MIB))
    vms = {sds: site.vm(sds, Disk(0, image=image), Disk(1, size=64 * MIB)) for sds in before}
    for vm in vms.values():
        site.act("clone", vm)
        site.act("mkimage", vm, 1)
    after = capacity(site)
    for sds, (_, total, free) in before.items():
        assert after[sds][1] == total
        assert free - after[sds][2] >= 24 + 64, "full sizes are promised"
    said = sizes(site)
    assert set(said) == {vm.id for vm in vms.values()}
    for lines in said.values():
        assert [re.sub(r"SIZE=\d+\]", "", line) for line in lines] == ["DISK_SIZE=[ID=0,", "DISK_SIZE=[ID=1,"]

    for vm in vms.values():
        site.act("delete", vm, -1)
    assert sizes(site) == {}
    try:
        with site.configured("[storage]\ncache_min_age = 0\n"):
            site.lab.sync()
            now = capacity(site)
    finally:
        site.lab.sync()
    for sds, (_, _, free) in before.items():
        assert free - 1 <= now[sds][2] <= free, "a cached image that may go is free room"
    monitor = site.sh("ls /var/lib/one/datastores/*/.monitor 2>/dev/null || :")
    assert monitor == "", "its presence would make OpenNebula's own probe report the root file system"


def test_what_is_free_is_admitted_and_then_nothing_is_free(site: Site) -> None:
    free = capacity(site)[THICK][2]
    vm = site.vm(THICK, Disk(0, size=(free - 1) * MIB))
    site.act("mkimage", vm)
    assert capacity(site)[THICK][2] == 0


def test_a_classic_snapshot_gets_room_before_it_overflows(site: Site) -> None:
    """A guest writes more in all than there was room for at first, and the agent probes now and then."""
    data = content("watched", 64 * MIB)
    vm = site.vm(THICK, Disk(0, image=site.image("watched", data)))
    name, half = f"lv-one-{vm.id}-0", 32
    try:
        with site.configured("[storage]\nmode = thick\ncow_percent = 25\n"):
            site.lab.sync()
            site.act("clone", vm)
            rooms = [int(site.volumes(THICK)[name]["lv_size"])]
            for piece in range(half // 2):
                dd = f"dd if=/dev/zero of=/dev/vg-one-{THICK}/{name} bs=2M count=1 seek={piece} oflag=direct"
                site.sh(f"{dd} conv=notrunc status=none")
                sizes(site)
                rooms.append(int(site.volumes(THICK)[name]["lv_size"]))
    finally:
        site.lab.sync()
    assert rooms[0] < half * MIB < rooms[-1]
    assert rooms[5] == rooms[0], "there was room"
    assert site.holds(vm, bytes(half * MIB) + data[half * MIB :])


def test_nothing_is_said_when_nothing_can_be_known(site: Site) -> None:
    site.sh("mv /etc/sudoers.d/vafnebula /run/vafnebula.away")
    try:
        assert capacity(site) == {}
        assert sizes(site) == {}
    finally:
        site.sh("mv /run/vafnebula.away /etc/sudoers.d/vafnebula")

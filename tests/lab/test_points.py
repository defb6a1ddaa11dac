"""Points in time of a disk on real LVM: disk snapshots, growth, and images of running VMs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from shlex import quote

import pytest

from tests.lab.test_guests import DATASTORE, MODES, THICK, THIN, Site, content, holed, refusal, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import ROOT, STUBS, Disk, Image, Vm
from vafnebula.units import MIB

WRITE = 'head -c "$3" | dd of="$1" bs=64k seek="$2" oflag=seek_bytes,direct iflag=fullblock conv=notrunc status=none'
# A guest that counts, at two places in turn, each number flushed before the next; ended by the file $2
COUNTER = """
import os, struct, sys
disk = os.open(sys.argv[1], os.O_RDWR | os.O_DSYNC)
number = 0
while not os.path.exists(sys.argv[2]):
    number += 1
    for offset in (0, 4 << 20):
        os.pwrite(disk, struct.pack("<Q", number), offset)
    if number == 5:
        open(sys.argv[2] + ".began", "w").close()
"""
NUMBERS = """
import struct, sys
with open(sys.argv[1], "rb") as image:
    for offset in (0, 4 << 20):
        image.seek(offset)
        print(*struct.unpack("<Q", image.read(8)))
"""
# The LVM commands of a snapshot's making and removal, 200 times: as the deeds give them, but all to one `lvm` process
CYCLES = """
import json, shlex, subprocess, sys
sys.path.insert(0, "/var/tmp/one/vafnebula")
from vafnebula import model, model_points
from vafnebula.node import lvm
from vafnebula.node.deeds.snap_create import snap_create
from vafnebula.node.deeds.snap_delete import snap_delete
from vafnebula.node.host import Host
calls = []
class Noting(Host):
    def lvm(self, argv):
        calls.append(" ".join(map(shlex.quote, argv)))
        return super().lvm(argv)
def used():
    pool = lvm.group(Host(), "vg-one-100").find("vaf-thinpool")
    return pool.data_percent, pool.metadata_percent
vm, directory = int(sys.argv[1]), sys.argv[2]
disk, settings = model.DiskRef(vm, 0, -1, 100, directory), model.Settings()
snap_create(Noting(), model_points.SnapCreate(disk, 777), settings)
snap_delete(Noting(), model_points.SnapDelete(disk, 777), settings)
changes = [c for c in calls if not c.startswith("lvs")]
before = used()
script = "".join(f"{c.replace('777', str(snap))}\\n" for snap in range(1000, 1200) for c in changes)
done = subprocess.run(["lvm"], input=script.encode(), capture_output=True, check=True)
print(json.dumps([before, used(), done.stdout.count(b"created."), done.stdout.count(b"successfully removed")]))
"""


@pytest.fixture
def site(clean_lab: Lab) -> Iterator[Site]:
    with site_of(clean_lab) as made:
        yield made


def call(verb: str, vm: Vm, *words: str, disk: int = 0) -> list[str]:
    place = f"{vm.host}:{vm.directory}/disk.{disk}"
    return [f"{STUBS}/{verb}", place, *words, str(vm.id), str(DATASTORE)]


def act(site: Site, verb: str, vm: Vm, *words: object) -> None:
    done = site.core.run(call(verb, vm, *map(str, words)))
    assert (done.out, done.err) == ("", "")


def refused(site: Site, verb: str, vm: Vm, *words: object) -> str:
    return refusal(site.core.begin(call(verb, vm, *map(str, words))).result(600))


def write(site: Site, vm: Vm, data: bytes, offset: int = 0) -> None:
    site.lab.ssh(site.node, ["sh", "-c", WRITE, "sh", site.link(vm), str(offset), str(len(data))], input=data)


def patched(data: bytes, piece: bytes, offset: int = 0) -> bytes:
    return data[:offset] + piece + data[offset + len(piece) :]


def belonging(site: Site, vm: Vm) -> set[str]:
    """Endings of the names of what belongs to the VM's disk."""
    disk = f"lv-one-{vm.id}-0"
    return {name.removeprefix(disk) for name in site.volumes(vm.sds) if name.startswith(disk)}


def test_snapshots_and_back(site: Site) -> None:
    base = holed("base")
    vm = site.of(THIN, site.image("base", base))
    site.act("clone", vm)
    first = patched(base, content("first", MIB))
    second = patched(first, content("second", MIB), 3 * MIB)
    act(site, "snap_create", vm, 0)
    write(site, vm, content("first", MIB))
    act(site, "snap_create_live", vm, 1)
    write(site, vm, content("second", MIB), 3 * MIB)
    act(site, "snap_create", vm, 2)
    act(site, "snap_create", vm, 2)
    assert belonging(site, vm) == {"", "-s0", "-s1", "-s2"}
    for row in site.volumes(THIN).values():
        if "vaf.snap=" in row["lv_tags"]:
            assert row["lv_attr"].startswith("Vri---"), "read-only, not active, skipped at boot"
            assert row["lv_attr"][9] == "k"
    for snap, wanted in ((0, base), (1, first), (2, second), (0, base)):
        act(site, "snap_revert", vm, snap)
        assert site.holds(vm, wanted), snap
        assert belonging(site, vm) == {"", "-s0", "-s1", "-s2"}
    act(site, "snap_delete", vm, 0)
    act(site, "snap_delete", vm, 0)
    assert site.holds(vm, base), "the disk outlives the snapshot that it was made of"
    act(site, "snap_revert", vm, 1)
    assert site.holds(vm, first)
    assert f"lv-one-{vm.id}-0-s0 does not exist" in refused(site, "snap_revert", vm, 0)
    # the origin is in use although nothing is its snapshot by name any more
    used = {
        tag for row in site.volumes(THIN).values() for tag in row["lv_tags"].split(",") if tag.startswith("vaf.origin")
    }
    assert used == {name.replace("vaf-origin-", "vaf.origin=") for name in site.origins(THIN)}
    site.sh('exec 9<"$1"; sleep 60 >/dev/null 2>&1 & echo $! >/run/reader', site.link(vm))
    line = refused(site, "snap_revert", vm, 2)
    assert "is in use: the VM still runs" in line
    act(site, "snap_create_live", vm, 3)
    site.sh("kill $(cat /run/reader)")
    site.act("delete", vm)
    assert belonging(site, vm) == set()


def test_snapshots_come_and_go_without_a_trace(site: Site) -> None:
    vm = site.of(THIN, site.image("base", holed("base")))
    site.act("clone", vm)
    write(site, vm, content("work", MIB))
    # -B: what root leaves beside the package would stand in the way of the next sync
    command = ["python3", "-I", "-B", "-c", CYCLES, str(vm.id), site.link(vm).rpartition("/")[0]]
    before, after, made, removed = json.loads(site.lab.ssh(site.node, command, user="root", timeout=600).out)
    assert (made, removed) == (200, 200)
    assert after[0] == before[0]
    assert after[1] == pytest.approx(before[1], abs=0.2)  # of 8 MiB: the space map is copied on write
    assert belonging(site, vm) == {""}


def test_mode_thick_says_which_mode_can(site: Site) -> None:
    vm = site.of(THICK, site.image("base", holed("base")))
    site.act("clone", vm)
    with site.unchanged():
        for verb in ("snap_create", "snap_create_live", "snap_delete", "snap_revert"):
            line = refused(site, verb, vm, 0)
            assert line == (
                f"{verb} of disk 0 on n1: a disk snapshot needs mode thin, and in system datastore 200 it is thick; "
                "put such VMs in one of mode thin"
            )
        assert "a larger disk needs mode thin" in refused(site, "resize", vm, 64)


def test_a_disk_grows_under_its_vm(site: Site) -> None:
    base = holed("base")
    vm = site.of(THIN, site.image("base", base))
    site.act("clone", vm)
    site.sh('exec 9<"$1"; sleep 60 >/dev/null 2>&1 & echo $! >/run/reader', site.link(vm))
    for size in (64, 64, 48):
        act(site, "resize", vm, size)
        assert site.look({site.link(vm): 0})[site.link(vm)].size == 64 * MIB
    assert site.holds(vm, base)
    site.sh("kill $(cat /run/reader)")
    act(site, "snap_create", vm, 0)
    act(site, "resize", vm, 96)
    act(site, "snap_revert", vm, 0)
    assert site.look({site.link(vm): 0})[site.link(vm)].size == 96 * MIB, "OpenNebula keeps the size"
    assert site.holds(vm, base)


@MODES
def test_a_persistent_disk_grows_and_is_saved_whole(site: Site, sds: int) -> None:
    """In mode thick the new part lies where an earlier tenant's secrets were."""
    data = holed("data")
    image = site.image(f"data-{sds}", data, persistent=True)
    vm = site.of(sds, image)
    site.act("ln", vm)
    if sds == THICK:
        paint = 'lvcreate -qq --yes -Wn -Zn -an -n tenant -l 100%FREE "$1"; lvchange -qq -ay "$1/tenant"'
        paint += '; yes secret | dd of="/dev/$1/tenant" bs=1M iflag=fullblock count=200 status=none oflag=direct'
        site.sh(paint + '; lvremove -qq --yes "$1/tenant"', f"vg-one-{sds}")
    act(site, "resize", vm, 64)
    assert site.holds(vm, data)
    assert belonging(site, vm) == {""}
    write(site, vm, content("end", MIB), 63 * MIB)
    site.act("mvds", vm)
    path = site.path(image)
    wanted = data.ljust(63 * MIB, b"\0") + content("end", MIB)
    assert site.lab.run(["md5sum", path]).out.split()[0].decode() == hashlib.md5(wanted).hexdigest()


def test_the_image_of_a_running_vm_is_of_one_moment(site: Site) -> None:
    vm = site.of(THIN, site.image("base", holed("base")))
    site.act("clone", vm)
    new = f"{ROOT}/{DATASTORE}/0123456789abcdef"
    program = ["python3", "-I", "-c", COUNTER, site.link(vm), "/tmp/enough"]
    guest = site.lab.popen(["ssh", site.node, " ".join(map(quote, program))])
    try:
        site.sh("until [ -e /tmp/enough.began ]; do sleep 0.05; done")
        act(site, "cpds", vm, new, -1)
        site.sh("touch /tmp/enough")
        assert guest.wait(60).code == 0
    finally:
        guest.kill()
        site.sh("rm -f /tmp/enough*")
    first, second = map(int, site.lab.run(["python3", "-I", "-c", NUMBERS, new]).out.split())
    assert first >= 5
    assert first - second in (0, 1)
    assert belonging(site, vm) == {""}


@MODES
def test_a_saved_image_boots(site: Site, sds: int) -> None:
    base = holed("base")
    vm = site.of(sds, site.image("base", base))
    site.act("clone", vm)
    write(site, vm, content("work", MIB))
    saved = Image(DATASTORE, f"{ROOT}/{DATASTORE}/fedcba-{sds}", len(base))
    act(site, "cpds", vm, saved.source, -1)
    # the disk has the size that OpenNebula knows, in whole MiB of the record or as the image
    another = site.vm(sds, Disk(0, image=saved, size=12 * MIB))
    site.act("clone", another)
    assert site.holds(another, patched(base, content("work", MIB)))
    if sds == THIN:
        act(site, "snap_create", vm, 4)
        write(site, vm, content("more", MIB))
        act(site, "cpds", vm, f"{ROOT}/{DATASTORE}/snap", 4)
        third = site.vm(sds, Disk(0, image=Image(DATASTORE, f"{ROOT}/{DATASTORE}/snap", len(base)), size=12 * MIB))
        site.act("clone", third)
        assert site.holds(third, patched(base, content("work", MIB)))
    else:
        site.sh('exec 9<"$1"; sleep 60 >/dev/null 2>&1 & echo $! >/run/reader', site.link(vm))
        with site.unchanged():
            assert "in use needs mode thin" in refused(site, "cpds", vm, f"{ROOT}/{DATASTORE}/snap", -1)
        site.sh("kill $(cat /run/reader)")


def test_two_of_each_at_once(site: Site) -> None:
    base = holed("base")
    vm = site.of(THIN, site.image("base", base))
    site.act("clone", vm)
    new = f"{ROOT}/{DATASTORE}/twin"
    for verb, *words in (
        ("snap_create_live", "0"),
        ("resize", "32"),
        ("cpds", new, "-1"),
        ("snap_revert", "0"),
        ("cpds", new, "0"),
        ("snap_delete", "0"),
    ):
        twins = [site.core.begin(call(verb, vm, *words)) for _ in range(2)]
        for twin in twins:
            done = twin.result(600)
            assert (done.code, done.err) == (0, ""), verb
        if verb == "snap_create_live":
            write(site, vm, content("after", MIB))
        assert belonging(site, vm) == ({"", "-s0"} if verb != "snap_delete" else {""})
    assert site.holds(vm, base)
    size = 10 * MIB  # what OpenNebula says of the image, when the snapshot was made
    digest = hashlib.md5(base.ljust(size, b"\0")).hexdigest()
    assert site.lab.run(["md5sum", new]).out.split()[0].decode() == digest
    assert site.look({site.link(vm): 0})[site.link(vm)].size == 32 * MIB

"""What LVM, a guest or a disk can do to us: groups inside disks, old signatures, open devices, overflow, errors."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.lab.test_guests import MODES, THICK, THIN, Site, content, holed, md5, refusal, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import Disk, checked
from vafnebula.units import KIB, MIB

CHUNK = 64 * KIB
# a VG named $1 on device $2, made as a guest makes it, who has a /dev of its own; then our LVM looks everywhere
GUEST_GROUP = """
mkdir -p /tmp/dev
unshare -m sh -euc '
mount -t tmpfs dev /tmp/dev
cp -a "$(readlink -f "$2")" /tmp/dev/vda
cp -a /dev/null /dev/urandom /dev/mapper /tmp/dev/
mount --move /tmp/dev /dev
own="devices { scan_lvs=1 global_filter=[ \\"a|^/dev/vda$|\\", \\"r|.*|\\" ] }"
pvcreate -qq --yes --config "$own" /dev/vda
vgcreate -qq --config "$own" "$1" /dev/vda
lvcreate -qq --yes -Wn -Zn -an --config "$own" -n vaf-thinpool -l 1 "$1"
' sh "$1" "$2"
cp -p /etc/lvm/lvm.conf /root/lvm.conf
sed -i 's/^ *global_filter = .*/global_filter = [ "a|.*|" ] scan_lvs = 1/' /etc/lvm/lvm.conf
lvs "$1" 2>&1 || :
"""
# 24 extents that begin like a PV of another VG, like an XFS, and like an ext4 or a swap area, all at once
SIGNATURES = """
cd /tmp
truncate -s 300M xfs
mkfs.xfs -q -f xfs
truncate -s 4M ext4 swap
mkfs.ext4 -q -F ext4
mkswap swap >/dev/null 2>&1
pv=$(pvs --noheadings -o pv_name -S vg_name=vg-one-100 | tr -d ' ')
dd if="$pv" of=begin bs=64k count=1 status=none
dd if=xfs of=begin bs=512 count=1 conv=notrunc status=none
cp begin begin1
dd if=ext4 of=begin bs=1024 skip=1 seek=1 count=1 conv=notrunc status=none
dd if=swap of=begin1 bs=1024 skip=1 seek=1 count=3 conv=notrunc status=none
mv begin begin0
lvcreate -qq --yes -Wn -Zn -n old -l 24 vg-one-200
for n in $(seq 0 23); do
    dd if=begin$((n % 2)) of=/dev/vg-one-200/old bs=64k seek=$((n * 64)) conv=notrunc status=none
done
sync
wipefs -n --noheadings --output TYPE /dev/vg-one-200/old | sort
dd if=/dev/vg-one-200/old of=second bs=4M skip=1 count=1 status=none
wipefs -n --noheadings --output TYPE second | sort
lvremove -qq --yes vg-one-200/old
rm xfs ext4 swap begin? second
"""
# a program has device $1 open until an LVM removal has failed, or with $2 for ever; or until /tmp/release is there
KEEP_OPEN = """
exec 3<"$1"
: >/tmp/open
until [ -e /tmp/release ] || { [ -z "$2" ] && grep -q "^lvremove 5" /run/calls; }; do sleep 0.05; done
"""
# $2 volumes that take no room are added to the VG's metadata
PAD = r'''
vgcfgbackup -qq -f /tmp/before "$1"
python3 -I -c '
import sys
head, mark, tail = open("/tmp/before").read().partition("logical_volumes {\n")
pad = """pad%d {
id = "AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-%06d"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 1
segment1 {
start_extent = 0
extent_count = 1
type = "zero"
}
}
"""
print(head + mark + "".join(pad % (n, n) for n in range(int(sys.argv[1]))) + tail)
' "$2" >/tmp/after
vgchange -qq -an "$1"
vgcfgrestore -qq --yes --force -f /tmp/after "$1"
vgchange -qq -aay "$1"
lvs --noheadings -o lv_name "$1" | wc -l
'''


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with site_of(lab) as made:
        yield made


def attributes(site: Site, sds: int, name: str) -> str:
    return site.volumes(sds)[name]["lv_attr"]


@pytest.mark.parametrize(
    ("sds", "calls"),
    [
        pytest.param(THIN, [("clone", 0), ("ln", 1), ("mkswap", 2)], id="thin"),
        pytest.param(THICK, [("clone", 0), ("mkswap", 2)], id="thick"),
    ],
)
def test_a_guests_volume_group_of_the_same_name(site: Site, sds: int, calls: list[tuple[str, int]]) -> None:
    data = holed(f"group-{sds}")
    image = site.image(f"group-{sds}", data)
    guest = site.vm(sds, Disk(0, size=24 * MIB))
    site.act("mkimage", guest)
    persistent = replace(image, persistent=True)
    vm = site.vm(sds, Disk(0, image=image), Disk(1, image=persistent), Disk(2, kind="swap", size=8 * MIB))
    try:
        said = site.sh(GUEST_GROUP, f"vg-one-{sds}", f"/dev/vg-one-{sds}/lv-one-{guest.id}-0")
        assert "Multiple VGs found" in said, "the hazard is not there"
        for verb, disk in calls:
            site.act(verb, vm, disk)
        assert site.holds(vm, data)
        if ("ln", 1) in calls:
            assert site.holds(vm, data, 1)
            site.act("mvds", vm, 1)
        site.act("delete", vm, -1)
        site.act("delete", guest, -1)
    finally:
        site.sh("if [ -e /root/lvm.conf ]; then mv /root/lvm.conf /etc/lvm/lvm.conf; fi")
    assert [name for name in site.volumes(sds) if name.startswith((f"lv-one-{vm.id}-", f"lv-one-{guest.id}-"))] == []


def test_old_signatures_in_free_extents(site: Site) -> None:
    """No question of LVM's, no failure, and no trace of them."""
    data = holed("signatures")
    image = site.image("signatures", data)
    persistent = replace(image, persistent=True)
    disks = Disk(0, image=image), Disk(1, image=persistent), Disk(2, kind="swap", size=8 * MIB), Disk(3, size=8 * MIB)
    vm = site.vm(THICK, *disks)
    assert site.sh(SIGNATURES).split() == ["LVM2_member", "ext4", "xfs", "LVM2_member", "swap", "xfs"]
    calls = [("clone", 0), ("ln", 1), ("mkswap", 2), ("mkimage", 3)]
    for future in [site.core.start(verb, vm.id, disk) for verb, disk in calls]:
        checked(future.result(600))
    assert site.holds(vm, data)
    assert site.holds(vm, data, 1)
    assert site.holds(vm, b"", 3)
    assert site.sh('wipefs -n --noheadings --output TYPE "$1"', site.link(vm, 2)).split() == ["swap"]


@contextlib.contextmanager
def kept_open(site: Site, device: str, for_ever: str) -> Iterator[None]:
    site.sh("rm -f /tmp/open /tmp/release")
    words = shlex.join(["sh", "-euc", KEEP_OPEN, "sh", device, for_ever])
    holder = site.lab.popen(["ssh", "-l", "root", "--", site.node, words])
    try:
        site.sh("until [ -e /tmp/open ]; do sleep 0.05; done")
        yield
    finally:
        site.sh(": >/tmp/release")
        assert holder.wait(60).code == 0


@MODES
def test_a_device_that_is_open(site: Site, sds: int) -> None:
    data = holed(f"open-{sds}")
    image = site.image(f"open-{sds}", data)
    vm = site.vm(sds, Disk(0, image=image), Disk(1, image=image))
    for disk in (0, 1):
        site.act("clone", vm, disk)
    with site.counted() as calls, kept_open(site, site.link(vm), ""):
        site.act("delete", vm, 0)
    assert [call.split()[1] for call in calls if call.startswith("lvremove")] == ["5", "0"]
    if sds == THICK:
        with kept_open(site, site.link(vm, 1), "for ever"), site.unchanged():
            line = site.refusal("delete", vm, 1)
        assert f"lv-one-{vm.id}-1 is in use: something has it open; stop what uses it and retry" in line
        assert site.holds(vm, data, 1)
    site.act("delete", vm, -1)
    assert [name for name in site.volumes(sds) if name.startswith(f"lv-one-{vm.id}-")] == []


def test_a_classic_snapshot_that_overflowed(site: Site) -> None:
    data = content("overflow", 24 * MIB)
    image = site.image("overflow", data)
    vm, other = site.of(THICK, image), site.of(THICK, image)
    with site.configured("[storage]\ncow_percent = 5\n"):
        for one in (vm, other):
            site.act("clone", one)
        write = ["dd", "if=/dev/zero", f"of={site.link(vm)}", "bs=1M", "count=20", "oflag=direct", "conv=notrunc"]
        assert site.lab.ssh(site.node, write, check=False).code != 0
        assert attributes(site, THICK, f"lv-one-{vm.id}-0")[4] == "I"
        with site.unchanged():
            line = site.refusal("clone", vm)
        assert f"snapshot vg-one-200/lv-one-{vm.id}-0 overflowed and its content is lost; delete the VM" in line
        assert site.holds(other, data)
        site.act("delete", vm, -1)
        site.act("clone", vm)
        assert site.holds(vm, data)


def test_a_classic_snapshot_with_all_room_never_overflows(site: Site) -> None:
    image = site.image("room", content("room", 13 * MIB + 5))
    disks = Disk(0, image=image), Disk(1, size=40 * MIB), Disk(2, kind="swap", size=9 * MIB), Disk(3, image=image)
    vm = site.vm(THICK, *disks)
    calls = [("clone", 0), ("mkimage", 1), ("mkswap", 2)]
    for verb, disk in calls:
        site.act(verb, vm, disk)
    links = [site.link(vm, disk) for _, disk in calls]
    site.sh(
        """
        for device; do
            size=$(blockdev --getsize64 "$device")
            tr '\\0' x </dev/zero | head -c "$size" | dd of="$device" bs=1M iflag=fullblock conv=fsync status=none
        done
        """,
        *links,
    )
    sizes = {link: look.size for link, look in site.look(dict.fromkeys(links, 0)).items()}
    assert all(look.digest == md5(b"x" * sizes[link]) for link, look in site.look(sizes).items())
    volumes = site.volumes(THICK)
    assert {volumes[f"lv-one-{vm.id}-{disk}"]["lv_attr"][4] for _, disk in calls} == {"a"}


def sparse(percent: int, grain: int, size: int) -> tuple[bytes, int, int]:
    """An image with `percent` of holes between `grain`s of data; its content, bytes of data, number of extents."""
    step = grain * 100 // (100 - percent)
    pieces = size // step
    data = bytearray(size)
    for n in range(pieces):
        data[n * step : n * step + grain] = content(f"{percent}-{n}", grain)
    return bytes(data), pieces * grain, pieces


def test_sparse_in_sparse_out(site: Site) -> None:
    """Allocated is at most the data, and one chunk at each end of an extent of it."""
    for percent in (10, 50, 90):
        data, used, extents = sparse(percent, 9 * MIB if percent == 10 else MIB, 40 * MIB)
        image = site.image(f"sparse-{percent}", data)
        vm = site.vm(THIN, Disk(0, image=image), Disk(1, image=replace(image, persistent=True)))
        calls = [("clone", 0), ("ln", 1)][: 2 if percent == 50 else 1]
        for verb, disk in calls:
            site.act(verb, vm, disk)
            row = site.volumes(THIN)[f"lv-one-{vm.id}-{disk}"]
            allocated = float(row["data_percent"]) * int(row["lv_size"]) / 100
            assert used * 0.99 <= allocated <= (used + extents * CHUNK) * 1.001, f"{verb} of {percent} % holes"
        if len(calls) > 1:
            site.act("mvds", vm, 1)
            assert int(site.lab.run(["stat", "-c", "%b", site.path(image)]).out) * 512 <= used + 2 * extents * CHUNK
            assert md5(site.lab.run(["cat", site.path(image)]).out) == md5(data)


def test_scattered_data(site: Site) -> None:
    """A file system's metadata: small pieces everywhere."""
    size, piece = 16 * MIB, 64 * KIB
    data = bytearray(size)
    for offset in range(300 * KIB, size, MIB):
        data[offset : offset + piece] = content(str(offset), piece)
    vm = site.of(THIN, site.image("scattered", bytes(data)))
    site.act("clone", vm)
    assert site.holds(vm, bytes(data))
    row = site.volumes(THIN)[f"lv-one-{vm.id}-0"]
    assert float(row["data_percent"]) * int(row["lv_size"]) / 100 <= 16 * (piece + 2 * CHUNK)


@MODES
def test_many_volumes(site: Site, sds: int) -> None:
    image = site.image(f"many-{sds}", content(f"many-{sds}", MIB))
    vm = site.vm(sds, Disk(0, image=image), Disk(1, image=image), Disk(2, image=image))
    site.act("clone", vm, 0)
    site.act("clone", vm, 1)
    try:
        assert int(site.sh(PAD, f"vg-one-{sds}", "260")) > 260
        with site.counted() as calls:
            site.act("clone", vm, 2)
        assert [call.split()[:2] for call in calls] == [["lvcreate", "0"]]
        assert site.holds(vm, content(f"many-{sds}", MIB), 2)
        site.act("delete", vm, -1)
    finally:
        site.sh('lvremove -qq --yes -S "lv_name=~^pad" "$1"', f"vg-one-{sds}")


# ---- disks that fail


@pytest.fixture(scope="module")
def faulty(booted: Callable[..., Lab]) -> Iterator[Site]:
    lab = booted("hazards", nodes=1, sds={100: "thin", 200: "thick"}, disk="512M", gluster=False, faults=True)
    with site_of(lab) as made:
        yield made


# the part of the disk of SDS $1 that holds data, from 8 MiB after its begin, fails
HALF_BROKEN = """
name=fault-$1
set -- $(lvs -a --noheadings --units s --nosuffix -o seg_pe_ranges -S "lv_name=~tdata" "vg-one-$1") "$1:0-0"
first=${1##*:}
first=$(( (${first%%-*} * 8192) + 2048 + 16384 ))
set -- $(dmsetup table "$name")
last=$((first + 65536))
printf '%s\\n' "0 $first linear $4 0" "$first 65536 error" "$last $(($2 - last)) linear $4 $last" |
    dmsetup load --noudevsync "$name"
dmsetup suspend --noflush --nolockfs --noudevsync "$name"
dmsetup resume --noudevsync "$name"
"""


@pytest.mark.parametrize(
    ("sds", "verb"), [pytest.param(THIN, "clone", id="thin"), pytest.param(THICK, "ln", id="thick")]
)
def test_a_disk_that_fails_during_a_fill(faulty: Site, sds: int, verb: str) -> None:
    data = content(f"fault-{sds}", 12 * MIB)
    image = faulty.image(f"fault-{sds}", data)
    vm = faulty.of(sds, replace(image, persistent=verb == "ln"))
    with faulty.unchanged(counters=False):
        faulty.sh(HALF_BROKEN, str(sds))
        try:
            line = faulty.refusal(verb, vm)
        finally:
            faulty.lab.fault(faulty.node, "none")
    assert "copy failed: dd: " in line
    assert f"({faulty.path(image)})" in line
    assert "Input/output error" in line
    faulty.act(verb, vm)
    assert faulty.holds(vm, data)


def test_a_disk_that_is_gone(faulty: Site) -> None:
    image = faulty.image("gone", content("gone", MIB))
    vm = faulty.of(THICK, image)
    with faulty.unchanged():
        faulty.lab.fault(faulty.node, "error")
        try:
            refusal(faulty.core.start("clone", vm.id, 0).result(600))
        finally:
            faulty.lab.fault(faulty.node, "none")
    faulty.act("clone", vm)
    assert faulty.holds(vm, content("gone", MIB))

"""No older content can be read through anything that is made: every byte of the disks once belonged to somebody else.

A lab of its own, with small disks: all extents of the thick VG and all blocks of the thin pool are filled with a
pattern first.  LVM frees them without discarding, so the pattern stays until something is written over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.lab.test_guests import DATASTORE, MODES, Site, content, holed, md5, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import ROOT, Disk, Image
from vafnebula.units import MIB

SECRET = "the old tenant's secret line 42"
PAINT = """
paint() {
    python3 -I -c '
import mmap, os, sys
line = sys.argv[2].encode() + b"\\n"
piece = mmap.mmap(-1, 4 << 20)
piece.write(line * (len(piece) // len(line)))
device, written = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT), 0
size = os.lseek(device, 0, os.SEEK_END)
os.lseek(device, 0, os.SEEK_SET)
while written < size:
    written += os.write(device, memoryview(piece)[: min(len(piece), size - written)])
os.fsync(device)
' "$1" "$2"
}
lvcreate -qq --yes -Wn -Zn -n old -l 100%FREE vg-one-200
paint /dev/vg-one-200/old "$1"
lvremove -qq --yes vg-one-200/old
size=$(lvs --noheadings --units b --nosuffix -o lv_size vg-one-100/vaf-thinpool | tr -d ' ')
lvcreate -qq --yes -Wn -n old -V "${size}b" -T vg-one-100/vaf-thinpool
paint /dev/vg-one-100/old "$1"
lvs --noheadings -o data_percent vg-one-100/old
lvremove -qq --yes vg-one-100/old
"""
# bytes that are not written stay as they were: 4 KiB into every MiB of a thin pool that does not zero, nothing else
BARE = """
lvcreate -qq --yes -Wn -Zn -n bare -L 16M vg-one-200
lvchange -qq -Zn vg-one-100/vaf-thinpool
lvcreate -qq --yes -Wn -n bare -V 16M -T vg-one-100/vaf-thinpool
for n in 0 1 2 3; do
    dd if=/dev/zero of=/dev/vg-one-100/bare bs=4k count=1 seek=$((n * 256)) oflag=direct conv=notrunc status=none
done
"""
UNBARE = """
lvremove -qq --yes vg-one-200/bare vg-one-100/bare
lvchange -qq -Zy vg-one-100/vaf-thinpool
"""
# what a guest may do to bring more to light: write a little into parts that were never written
SPRINKLE = """
import mmap, os, sys
sector = mmap.mmap(-1, 512)
for path in sys.argv[1:]:
    device = os.open(path, os.O_WRONLY | os.O_DIRECT)
    for offset in range(0, os.lseek(device, 0, os.SEEK_END) - 512, 3 * 700416):
        os.pwrite(device, sector, offset)
    os.fsync(device)
"""


@pytest.fixture(scope="module")
def site(booted: Callable[..., Lab]) -> Iterator[Site]:
    lab = booted("painted", nodes=1, sds={100: "thin", 200: "thick"}, disk="800M", gluster=False)
    with site_of(lab) as made:
        assert made.lab.sh("n1", PAINT, SECRET, timeout=300).split() == ["100.00"]
        yield made


def test_a_bare_volume_shows_the_old_content(site: Site) -> None:
    """Or the other tests would prove nothing."""
    site.sh(BARE)
    try:
        seen = site.look({f"/dev/vg-one-{sds}/bare": 0 for sds in (100, 200)}, SECRET)
    finally:
        site.sh(UNBARE)
    thin, thick = (look.count for look in seen.values())
    assert thick >= 16 * MIB // (len(SECRET) + 1) - 1
    assert thin >= 4 * 60 * 1024 // (len(SECRET) + 1) - 4


@MODES
def test_no_older_content(site: Site, sds: int) -> None:
    data = holed(f"painted-{sds}")
    image = site.image(f"painted-{sds}", data)
    persistent = replace(image, persistent=True)
    results = site.image(f"results-{sds}", data, persistent=True)
    packed = f"{site.lab.datastore(DATASTORE)}/packed-{sds}"
    site.sh('qemu-img convert -O qcow2 "$1" "$2"; chown oneadmin: "$2"', site.path(image), packed)
    qcow2 = Image(DATASTORE, f"{ROOT}/{DATASTORE}/packed-{sds}", -(-len(data) // 512) * 512)
    disks = (
        Disk(0, image=image),
        Disk(1, image=image, size=33 * MIB),
        Disk(2, image=persistent, size=14 * MIB),
        Disk(3, image=image),
        Disk(4, kind="swap", size=10 * MIB),
        Disk(5, size=9 * MIB),
        Disk(6, size=17 * MIB, filesystem="ext4"),
        Disk(7, size=300 * MIB, filesystem="xfs"),
        Disk(8, image=qcow2),
        Disk(9, image=results, size=13 * MIB),
        Disk(10, image=replace(qcow2, persistent=True), size=15 * MIB),
    )
    verbs = ("clone", "clone", "ln", "ln", "mkswap", "mkimage", "mkimage", "mkimage", "clone", "ln", "ln")
    vm = site.vm(sds, *disks)
    site.core.record_as(vm, 3, TYPE="CDROM")
    for disk, verb in enumerate(verbs):
        site.act(verb, vm, disk)
    links = [site.link(vm, disk) for disk in range(len(verbs))]
    images = {link: len(data) for disk, link in enumerate(links) if disk in (0, 1, 2, 3, 8, 9, 10)}
    seen = site.look(images | dict.fromkeys(links[4:7], 0), SECRET)
    assert {link: look.count for link, look in seen.items() if look.count} == {}
    assert {link for link in images if (seen[link].digest, seen[link].rest) != (md5(data), 0)} == set()
    assert seen[links[1]].size >= 33 * MIB
    kinds = site.sh('for device; do blkid -p -o value -s TYPE "$device"; done', links[4], *links[6:8])
    assert kinds.split() == ["swap", "ext4", "xfs"]

    written = [link for link in links if link not in (links[3], links[9])]
    site.lab.ssh(site.node, ["python3", "-I", "-c", SPRINKLE, *written], user="root")
    seen = site.look(dict.fromkeys(links, 0), SECRET)
    assert {link: look.count for link, look in seen.items() if look.count} == {}

    guest = content("guest", MIB + 12345)
    site.lab.ssh(site.node, ["dd", f"of={links[9]}", "bs=64k", "seek=160", "conv=notrunc,fsync"], input=guest)
    for disk in (9, 10):
        site.act("mvds", vm, disk)
    saved = site.path(results)
    seen = site.look({saved: 13 * MIB, packed: 0}, SECRET)
    assert [look.count for look in seen.values()] == [0, 0]
    wanted = data.ljust(10 * MIB, b"\0")[: 10 * MIB] + guest
    assert (seen[saved].digest, seen[saved].size) == (md5(wanted.ljust(13 * MIB, b"\0")), 13 * MIB)
    flat = site.sh('qemu-img convert -O raw "$1" /tmp/flat; stat -c %s /tmp/flat', packed)
    assert site.look({"/tmp/flat": 0}, SECRET)["/tmp/flat"].count == 0
    assert int(flat) == 15 * MIB
    site.act("delete", vm, -1)

"""Room in real volume groups: what is evicted, what never is, and a refusal with figures before anything breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.lab.test_guests import DATASTORE, MODES, THIN, Site, content, refusal, site_of
from tests.lab.test_points import call
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import ROOT, Image, Vm
from vafnebula.units import MIB

# What is used of the thin pool, or of the VG by origins: five images do not fit.
SHARE = 22
YOUNG = "[storage]\npool_limit = 50\ncow_percent = 5\n"
OLD = YOUNG + "cache_min_age = 0\n"
# images ($2...) of $1 bytes that begin with their names and have no holes
MAKE = """
size=$1
shift
for image; do
    { printf '%s\\n' "${image##*/}"; tr '\\0' x </dev/zero; } | head -c "$size" >"$image"
    chown oneadmin: "$image"
done
"""
# a guest that writes 1 MiB of its disk, and reads it back
WRITE = """
head -c 1048576 /dev/urandom >/tmp/piece
dd if=/tmp/piece of="$1" bs=1M oflag=direct conv=notrunc,fsync seek=1 status=none
dd if="$1" bs=1M iflag=direct skip=1 count=1 status=none | cmp - /tmp/piece
"""
# what clears a VG in one command
CLEAR = """
lvremove -qq --yes -S 'lv_name=~^lv-one || lv_name=~^vaf-origin' "$1"
rm -rf "/var/lib/one/datastores/${1##*-}"/*
"""


@pytest.fixture(scope="module")
def site(booted: Callable[..., Lab]) -> Iterator[Site]:
    lab = booted("room", nodes=1, sds={100: "thin", 200: "thick"}, disk="320M", gluster=False)
    with site_of(lab) as made:
        yield made


def share(site: Site, sds: int) -> int:
    """Bytes of an image of which five do not fit."""
    thin = 'lvs --noheadings --units b --nosuffix -o lv_size "$1/vaf-thinpool"'
    thick = 'vgs --noheadings --units b --nosuffix -o vg_size "$1"'
    whole = int(site.sh(thin if sds == THIN else thick, f"vg-one-{sds}"))
    return (whole // 2 if sds == THIN else whole) * SHARE // 100 // (4 * MIB) * 4 * MIB


def origin(site: Site, sds: int, name: str) -> list[str]:
    """The origins of image `name`."""
    return [n for n, row in site.origins(sds).items() if f"vaf.image={DATASTORE}/{name}" in row["lv_tags"].split(",")]


def used(site: Site, vm: Vm) -> None:
    """Run a VM's disk through its life, so that its image is cached and not in use."""
    site.act("clone", vm)
    site.act("delete", vm, -1)


def begins(site: Site, vm: Vm) -> str:
    return site.sh('head -n 1 "$1"', site.link(vm)).strip()


@MODES
def test_room_for_another_image(site: Site, sds: int) -> None:
    size = share(site, sds)
    names = ("pinned", "recent", "idle", "busy", "next", "last", "late")
    # in mode thick the volume is as large as the disk, whatever the file is; a thin pool holds data alone
    length = size if sds == THIN else MIB
    site.sh(MAKE, str(length), *(f"{site.lab.datastore(DATASTORE)}/{name}-{sds}" for name in names))
    images = {name: Image(DATASTORE, f"{ROOT}/{DATASTORE}/{name}-{sds}", length) for name in names}
    vms = {name: site.of(sds, image, size) for name, image in images.items()}

    def cached() -> set[str]:
        tags = [tag for row in site.origins(sds).values() for tag in row["lv_tags"].split(",")]
        return {name for name in images if f"vaf.image={DATASTORE}/{name}-{sds}" in tags}

    with site.configured(OLD):
        for name in ("pinned", "recent", "idle"):
            used(site, vms[name])
        used(site, vms["recent"])  # older than idle, but used after it
        site.act("clone", vms["busy"])
        [pinned] = origin(site, sds, f"pinned-{sds}")
        site.sh('lvchange -qq --addtag vaf.pinned "vg-one-$1/$2"', str(sds), pinned)
    assert cached() == {"pinned", "recent", "idle", "busy"}

    with site.configured(YOUNG), site.unchanged():
        line = site.refusal("clone", vms["next"])
    figures(line, sds, size)

    with site.configured(OLD):
        site.act("clone", vms["next"])
        assert cached() == {"pinned", "recent", "busy", "next"}
        site.act("clone", vms["last"])
        assert cached() == {"pinned", "busy", "next", "last"}
        with site.unchanged():
            line = site.refusal("clone", vms["late"])
        figures(line, sds, size)
        running = ("busy", "next", "last")
        assert [begins(site, vms[name]) for name in running] == [f"{name}-{sds}" for name in running]
        if sds == THIN:
            full(site, [vms[name] for name in running], size)
    site.sh(CLEAR, f"vg-one-{sds}")


def figures(line: str, sds: int, size: int) -> None:
    """The refusal says how much is wanted and how much there is, and that is not enough."""
    where = "thin pool of vg-one-100" if sds == THIN else "volume group vg-one-200"
    found = re.search(rf"{where} lacks room: (\d+) bytes wanted, (\d+) bytes free; remove VMs, evict images", line)
    assert found, line
    wanted, free = map(int, found.groups())
    assert 0 <= free < wanted
    assert wanted in range(size, size + 2 * MIB)


def full(site: Site, running: list[Vm], size: int) -> None:
    """A guest fills the thin pool above its limit: then nothing new is made, not even of a cached image.

    The guests that are there go on writing where they never wrote, and none of them gets an I/O error.
    """
    vm = running[0]
    site.sh(
        'tr "\\0" y </dev/zero | head -c "$2" | dd of="$1" bs=1M iflag=fullblock conv=fsync status=none',
        site.link(vm),
        str(size),
    )
    for guest in running:
        site.sh(WRITE, site.link(guest))
    another = site.vm(THIN, *vm.disks)
    with site.unchanged():
        line = site.refusal("clone", another)
    assert f"thin pool of vg-one-100 lacks room: {size} bytes wanted, 0 bytes free" in line
    snapshot = call("snap_create", vm, "0")
    with site.unchanged():
        assert "thin pool of vg-one-100 lacks room" in refusal(site.core.begin(snapshot).result(600))
    for guest in running:
        site.sh(WRITE, site.link(guest))
    assert site.sh("dmesg | grep -ciE 'i/o error|out of (data|metadata) space' || true").strip() == "0"


def test_a_changed_image_is_another_image(site: Site) -> None:
    sds = THIN
    first, second = content("first", 2 * MIB), content("second", 3 * MIB)
    image = site.image(f"changed-{sds}", first)
    old, new = site.of(sds, image), site.of(sds, Image(DATASTORE, image.source, len(second)))
    site.act("clone", old)
    site.image(f"changed-{sds}", second)
    site.act("clone", new)
    assert site.holds(old, first)
    assert site.holds(new, second)
    assert len(origin(site, sds, f"changed-{sds}")) == 2

"""The same lab with real udev, and on Debian's stock kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vafnebula.lab import Lab

SNAPSHOTS = """
lvcreate -qq --yes -Wn --type thin -n origin -V 64M --thinpool vaf-thinpool vg-one-100
lvcreate -qq --yes -kn -s -n thin vg-one-100/origin
lvcreate -qq --yes -Wn -n origin -L 64M vg-one-200
lvcreate -qq --yes -s -n thick -L 16M vg-one-200/origin
for volume in vg-one-100/thin vg-one-200/thick; do
    mkfs.xfs -q -f -K "/dev/$volume" 2>/dev/null || mkfs.ext4 -q -F "/dev/$volume"
    blkid -o value -s TYPE "/dev/$volume"
done
lvremove -qq --yes vg-one-100/thin vg-one-100/origin vg-one-200/thick vg-one-200/origin
lvs --noheadings -o lv_name
"""


def works(lab: Lab) -> None:
    """Snapshots in both modes, sudo, GlusterFS; volumes and GlusterFS are there again after a power cut."""
    said = lab.sh("n1", SNAPSHOTS, timeout=180).split()
    assert len(said) == 3
    assert set(said[:2]) <= {"xfs", "ext4"}
    assert said[2] == "vaf-thinpool"
    path = lab.put(lab.datastore(101) / "probe", b"seen\n")
    assert lab.ssh("n1", ["cat", str(path)]).out == b"seen\n"
    lab.cut("n1")
    lab.boot("n1")
    assert lab.ssh("n1", ["sudo", "-n", "/usr/sbin/lvs", "vg-one-100"]).out.split()[0] == b"LV"
    assert lab.ssh("n1", ["cat", str(path)]).out == b"seen\n"
    assert lab.sh("n1", "ls -d /var/tmp/one/vafnebula") == "/var/tmp/one/vafnebula\n"


@pytest.mark.udev
def test_with_real_udev(booted: Callable[..., Lab]) -> None:
    lab = booted("udev", nodes=1, disk="1G", sds={100: "thin", 200: "thick"}, udev=True)
    assert lab.sh("n1", "lvmconfig activation/udev_sync").strip() == "udev_sync=1"
    lab.sh("n1", "udevadm control --ping")
    works(lab)


@pytest.mark.qemu
def test_on_debians_stock_kernel(booted: Callable[..., Lab]) -> None:
    lab = booted("qemu", nodes=1, disk="1G", sds={100: "thin", 200: "thick"}, backend="qemu")
    assert lab.sh("n1", "uname -r").strip().endswith("-cloud-amd64")
    works(lab)

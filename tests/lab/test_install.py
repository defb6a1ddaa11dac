"""install.sh on a hypervisor: from the front-end through ssh, with real sudo, wipefs and LVM; and away again."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vafnebula.lab import Lab

CHECKOUT = Path(__file__).parents[2]
NODE, SDS = "n2", "200"
INSTALL = ["sh", "/opt/vafnebula/install.sh"]
# every file and directory where an installation puts something, with mode and owner
PICTURE = """
for top in /etc/sudoers.d /etc/systemd /var/lib/vafnebula /usr/lib/vafnebula; do
    find "$top" -printf '%M %u %p\\n' 2>/dev/null || :
done | sort
sha256sum /etc/sudoers.d/* | sort
"""
EMPTY_VG = """
vgchange -qq -an "vg-one-$1"
vgremove -qq --yes --force "vg-one-$1"
pvremove -qq --yes "$2"
"""


def device(lab: Lab) -> str:
    return lab.sh(NODE, 'vgs --noheadings -o pv_name "vg-one-$1"', SDS).strip()


@pytest.fixture
def bare(lab: Lab) -> Iterator[tuple[Lab, str]]:
    """A node without our sudo rules, and the device of a VG that is empty."""
    disk = device(lab)
    rules = lab.sh(NODE, "cat /etc/sudoers.d/vafnebula; rm /etc/sudoers.d/vafnebula")
    yield lab, disk
    lab.sh(NODE, 'dmsetup remove hold 2>/dev/null || :; vgremove -qq --yes --force "vg-one-$1" || :', SDS)
    lab.sh(NODE, 'wipefs -qa "$2"; vgcreate -qq "vg-one-$1" "$2"', SDS, disk)
    script = 'printf %s "$1" >/etc/sudoers.d/vafnebula; chmod 440 /etc/sudoers.d/vafnebula; rm -rf /var/lib/vafnebula'
    lab.sh(NODE, script, rules)


def install(lab: Lab, *words: str, code: int = 0) -> str:
    done = lab.run([*INSTALL, *words], check=False, timeout=120)
    told = (done.out + done.err).decode()
    assert done.code == code, told
    return told


def test_a_node_is_installed_from_the_front_end_and_uninstalled_without_a_trace(bare: tuple[Lab, str]) -> None:
    lab, disk = bare
    before = lab.sh(NODE, PICTURE)
    there = ("node", "--no-packages", "--host", f"root@{NODE}", "--sds", SDS, "--device", disk)

    lab.sh(NODE, 'lvcreate -qq --yes -n theirs -L 8M "vg-one-$1"', SDS)
    told = install(lab, "node", "--no-packages", "--host", f"root@{NODE}", "--sds", "300", "--device", disk, code=1)
    assert f"{disk} is not empty (found: LVM2_member" in told
    assert lab.sh(NODE, PICTURE) == before, "it was refused before anything was changed"
    lab.sh(NODE, EMPTY_VG, SDS, disk)
    lab.sh(NODE, 'mkfs.ext4 -q "$1"', disk)
    assert "is not empty (found: ext4" in install(lab, *there, code=1)
    lab.sh(NODE, 'wipefs -qa "$1"; dmsetup create hold --table "0 8192 linear $1 0"', disk)
    assert f"{disk} is in use" in install(lab, *there, code=1)
    lab.sh(NODE, "dmsetup remove hold")

    assert "would be making vg-one-200" in install(lab, *there, "--dry-run")
    assert lab.sh(NODE, PICTURE) == before
    install(lab, *there)
    fields = "lv_name,zero,chunk_size,lv_when_full,lv_tags"
    report = lab.ssh(NODE, ["sudo", "-n", "lvs", "--reportformat", "json", "-o", fields, f"vg-one-{SDS}"]).out
    [pool] = json.loads(report)["report"][0]["lv"]
    assert (pool["lv_name"], pool["zero"], pool["chunk_size"]) == ("vaf-thinpool", "zero", "64.00k")
    assert pool["lv_when_full"] == "error"
    assert pool["lv_tags"] == "vafnebula"
    assert lab.ssh(NODE, ["sudo", "-n", "cat", "/etc/shadow"], check=False).code == 1

    placed = lab.sh(NODE, PICTURE)
    assert install(lab, *there).splitlines() == [f"install.sh: root@{NODE}:"]
    assert lab.sh(NODE, PICTURE) == placed
    told = install(lab, "uninstall", "--host", f"root@{NODE}")
    assert told == f"install.sh: root@{NODE}:\n"
    assert lab.sh(NODE, PICTURE) == before
    assert "vaf-thinpool" in lab.sh(NODE, 'lvs "vg-one-$1"', SDS), "an uninstallation never takes a volume"


def test_a_wrong_sudoers_file_is_never_put_in_place(bare: tuple[Lab, str]) -> None:
    lab, _ = bare
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in ("install.sh", "share"):
            tar.add(CHECKOUT / name, name)
    lab.ssh(NODE, ["sh", "-c", "mkdir /run/broken; tar -C /run/broken -xf -"], user="root", input=data.getvalue())
    lab.sh(NODE, "echo 'oneadmin ALL=(root NOPASSWD: ALL' >>/run/broken/share/sudoers/vafnebula")
    done = lab.ssh(NODE, ["sh", "/run/broken/install.sh", "node", "--no-packages"], user="root", check=False)
    assert done.code == 1
    assert b"visudo refuses share/sudoers/vafnebula; nothing was changed" in done.err
    assert lab.sh(NODE, "ls /etc/sudoers.d; rm -rf /run/broken").split() in ([], ["README"])

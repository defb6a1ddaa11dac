"""Disks that move between nodes, to another datastore, to the front-end and back: content kept, nothing left."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.lab.test_guests import MODES, THICK, THIN, Site, holed, md5, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import STUBS, ActionFailed, Disk, Vm, argv, move_lines
from vafnebula.lab.spec import FRONTEND
from vafnebula.units import MIB

# the guest of the VM in the directory $1 has written to its disks, and was saved
GUEST = """
cd "$1"
for n in 0 1; do
    printf "disk $n of $1" | dd of=disk.$n oflag=seek_bytes seek=5242880 conv=notrunc,fsync status=none
done
head -c 3000017 /dev/urandom >checkpoint
"""
# what libvirt does in a live migration with storage copy
AS_LIBVIRT = """
cd "$1"
for d in disk.[01]; do
    gzip -1 <$d | ssh n2 "gzip -d | dd of=$1/$d bs=1M iflag=fullblock conv=notrunc,fsync status=none"
done
"""
# the digest of every disk of that VM, through its link
DIGESTS = 'cd "$1" && for d in disk.*; do if [ -b "$d" ]; then echo "$d $(md5sum <"$d")"; fi; done'


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with site_of(lab) as made:
        yield made


class Mover:
    """A site of two nodes, on which VMs are deployed, written to and looked at."""

    def __init__(self, site: Site) -> None:
        self.site, self.core, self.lab = site, site.core, site.lab

    def vm(self, sds: int, name: str) -> Vm:
        """A deployed VM with a disk of each kind, which its guest has written to, and files in its directory."""
        data = holed(name)
        disks = (
            Disk(0, image=self.site.image(name, data), size=40 * MIB),
            Disk(1, image=self.site.image(f"{name}-p", data, persistent=True)),
        )
        vm = self.site.vm(sds, *disks)
        self.core.deploy(vm.id)
        self.lab.ssh(vm.host, ["sh", "-euc", GUEST, "sh", self.directory(vm.id)])
        return vm

    def now(self, vm: int) -> Vm:
        return self.core.vms[vm]

    def directory(self, vm: int) -> str:
        return self.now(vm).directory.replace("//", "/")

    def write(self, vm: int, disk: int, offset: int, data: bytes) -> None:
        path = f"{self.directory(vm)}/disk.{disk}"
        command = ["dd", f"of={path}", f"seek={offset}", "oflag=seek_bytes", "conv=notrunc,fsync", "status=none"]
        self.lab.ssh(self.now(vm).host, command, input=data)

    def digests(self, vm: int) -> dict[str, str]:
        """What the VM's disks hold on its host."""
        lines = self.lab.sh(self.now(vm).host, DIGESTS, self.directory(vm)).splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}

    def file(self, vm: int, name: str) -> str:
        """The digest of a file of the VM's directory."""
        return self.lab.sh(self.now(vm).host, 'md5sum <"$1"', f"{self.directory(vm)}/{name}").split()[0]

    def left(self, node: str, vm: int) -> list[str]:
        """Volumes, files and half-made things of the VM on a node."""
        tags = f"lv_tags=vaf.vm={vm} || lv_tags=vaf.partial || lv_name=~vaf-fill"
        found = self.lab.sh(node, f"lvs --noheadings -o lv_full_name -S '{tags}'").split()
        return found + self.lab.sh(node, f"find /var/lib/one/datastores -path '*/[0-9]*/{vm}' -mindepth 2").split()

    def parked(self, vm: int) -> list[str]:
        where = "/var/lib/one/datastores"
        return sorted(self.lab.run(["find", where, "-path", f"{where}/*/{vm}/*"]).out.decode().split())


@pytest.fixture
def mover(site: Site) -> Mover:
    return Mover(site)


@MODES
def test_a_vm_goes_everywhere_and_stays_what_it_is(mover: Mover, sds: int) -> None:
    """To another node, twice at once back, to the front-end and back, to another datastore; then it terminates."""
    vm, core = mover.vm(sds, f"tour-{sds}").id, mover.core
    before, checkpoint = mover.digests(vm), mover.file(vm, "checkpoint")
    assert len(before) == 2

    def is_whole(left: str) -> None:
        assert mover.digests(vm) == before
        assert mover.file(vm, "checkpoint") == checkpoint
        assert mover.left(left, vm) == []

    core.migrate(vm, "n2")
    is_whole("n1")
    old = core.assign(vm, "n1")
    lines = move_lines(mover.now(vm), old.host, old.directory)
    core.run(lines[0])  # the script failed after its first line, is retried, and while it runs retried again
    for command in lines:
        begun = [core.begin(command) for _ in range(2)]
        assert [future.result(600).err for future in begun] == ["", ""]
    is_whole("n2")
    core.stop(vm)
    assert mover.left("n1", vm) == []
    names = {p.rpartition("/")[2] for p in mover.parked(vm)}
    assert {"disk.0", "disk.1", "checkpoint"} <= names
    disk = mover.lab.outside(f"{mover.directory(vm)}/disk.0").stat()
    assert disk.st_size == 40 * MIB
    assert disk.st_blocks * 512 < 10 * MIB, "it is not sparse"
    core.resume(vm, "n2")
    is_whole("n1")
    assert mover.parked(vm) == []
    other = THICK if sds == THIN else THIN
    core.migrate(vm, "n2", other)
    is_whole("n1")
    assert (
        mover.lab.sh("n2", 'readlink "$1"', f"{mover.directory(vm)}/disk.0") == f"/dev/vg-one-{other}/lv-one-{vm}-0\n"
    )
    assert mover.lab.sh("n2", f"lvs --noheadings -o lv_name -S lv_tags=vaf.vm={vm} vg-one-{sds}") == ""
    with mover.site.unchanged():
        core.migrate(vm, "n2")
    core.terminate(vm)
    assert mover.left("n2", vm) == []


def test_recover_with_failure_starts_the_source(mover: Mover) -> None:
    """The disks of a script that ended early are still where they were; a later migration brings what is new."""
    vm = mover.vm(THIN, "failure").id
    old = mover.core.assign(vm, "n2")
    for command in move_lines(mover.now(vm), old.host, old.directory)[:2]:
        mover.core.run(command)
    mover.core.assign(vm, "n1")
    mover.write(vm, 0, 9 * MIB, b"the guest goes on")
    before = mover.digests(vm)
    assert len(before) == 2
    mover.core.migrate(vm, "n2")
    assert mover.digests(vm) == before
    assert mover.left("n1", vm) == []
    mover.core.terminate(vm)


def test_the_source_stays_when_a_disk_did_not_come(mover: Mover) -> None:
    vm = mover.vm(THIN, "early").id
    before = mover.digests(vm)
    old = mover.core.assign(vm, "n2")
    lines = move_lines(mover.now(vm), old.host, old.directory)
    mover.core.run(lines[0])
    with pytest.raises(ActionFailed, match=r"volume vg-one-100/lv-one-\d+-1 of VM \d+ has no complete copy"):
        mover.core.run(lines[-1])
    mover.core.record(replace(old, before=((("n1", THIN)),) * 3))
    assert mover.digests(vm) == before
    mover.core.terminate(vm)


def test_a_dead_source(mover: Mover) -> None:
    """LCM_STATE 60: refused at once, or made anew if the site wants that, but never a persistent disk."""
    image, data = mover.site.image("dead", holed("dead")), holed("dead")
    persistent = replace(image, persistent=True)
    vm = mover.site.vm(THIN, Disk(0, image=image), Disk(1, image=persistent), Disk(2, kind="swap", size=8 * MIB)).id
    old = mover.core.assign(vm, "n2", lcm=60)
    lines = move_lines(mover.now(vm), "no-such-host", old.directory)
    with pytest.raises(ActionFailed, match="no-such-host is taken for dead and nothing can be copied from it"):
        mover.core.run(lines[0])
    with mover.site.configured("[storage]\ndead_source = recreate\n"):
        for number in (0, 2, 3):
            mover.core.run(lines[number])
        with pytest.raises(ActionFailed, match="disk 1 is persistent"):
            mover.core.run(lines[1])
    look = mover.lab.ssh("n2", ["head", "-c", str(len(data)), f"{mover.directory(vm)}/disk.0"]).out
    assert md5(look) == md5(data)
    assert set(mover.digests(vm)) == {"disk.0", "disk.2"}
    mover.core.run(argv("delete", mover.now(vm)))


# writes 4 KiB blocks of the device $1 anew: every $2th of those in its first $3 MiB, and none of them as it was
CHANGE = """
python3 -I - "$@" <<'END'
import os, sys
fd, each, size = os.open(sys.argv[1], os.O_RDWR), int(sys.argv[2]), int(sys.argv[3]) << 20
for offset in range(0, size, 4096 * each):
    os.pwrite(fd, os.urandom(4096), offset)
os.fsync(fd)
END
cat /proc/net/dev
"""


def said(mover: Mover, node: str, verb: str, vm: int) -> dict[str, str]:
    """The facts of the last deed `verb` on the VM's disk 0, from the node's syslog."""
    line = mover.lab.sh(node, f"grep ' {verb} vm={vm} disk=0 ' /var/log/syslog | tail -n 1")
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def received(text: str) -> int:
    """Bytes that came in over the network, from /proc/net/dev."""
    return sum(int(line.split(":")[1].split()[0]) for line in text.splitlines()[2:] if not line.startswith("    lo"))


def test_only_blocks_that_differ_cross_the_network(mover: Mover) -> None:
    """Of 16 MiB, 1, 10 and 50 % are changed; the destination holds the same image, for another VM."""
    size = 16
    image = mover.site.image("delta", random.Random(1).randbytes(size * MIB))
    mate, *vms = (mover.site.of(THIN, image).id for _ in range(4))
    for vm in (mate, *vms):
        mover.core.act("clone", vm, 0)
    mover.core.migrate(mate, "n2")
    for vm, each in zip(vms, (100, 10, 2)):
        mover.lab.sh("n1", CHANGE, f"{mover.directory(vm)}/disk.0", str(each), str(size))
        changed = -(-size * 256 // each) * 4096
        before, came = mover.digests(vm), received(mover.lab.sh("n2", "cat /proc/net/dev"))
        mover.core.migrate(vm, "n2")
        came = received(mover.lab.sh("n2", "cat /proc/net/dev")) - came
        assert mover.digests(vm) == before
        sent = said(mover, "n1", "send", vm)
        assert changed <= int(sent["bytes"]) <= 1.1 * changed
        assert came <= 1.1 * changed + 160 * 1024, "handshakes, orders and this test's own ssh come on top"
        if each == 100:
            assert int(sent["looked"]) < size * MIB, "thin_delta was not used"
    for vm in (mate, *vms):
        mover.core.run(argv("delete", mover.now(vm)))


def test_a_base_that_the_destination_cannot_have(mover: Mover) -> None:
    """The image has been replaced meanwhile: the disk still goes over, whole."""
    image = mover.site.image("replaced", holed("replaced"))
    vm = mover.site.of(THIN, image)
    mover.core.act("clone", vm.id, 0)
    before = mover.digests(vm.id)
    mover.site.image("replaced", holed("another"))
    mover.core.migrate(vm.id, "n2")
    assert mover.digests(vm.id) == before
    assert mover.lab.sh("n2", f"lvs --noheadings -o origin vg-one-100/lv-one-{vm.id}-0").split() == []
    mover.core.terminate(vm.id)


def test_a_volume_in_pieces_moves(mover: Mover) -> None:
    """A persistent disk of mode thick that grew where something else lies behind it: lvs has a line for each piece."""
    vm = mover.vm(THICK, "pieces").id
    mover.lab.sh("n1", f"lvcreate -qq --yes -Wn -Zn -an -l 1 -n wedge vg-one-{THICK}")
    mover.core.run([f"{STUBS}/resize", f"n1:{mover.directory(vm)}/disk.1", "48", str(vm), "101"])
    pieces = mover.lab.sh("n1", f"lvs --noheadings -o seg_count vg-one-{THICK}/lv-one-{vm}-1").strip()
    mover.lab.sh("n1", f"lvremove -qq --yes vg-one-{THICK}/wedge")
    assert pieces == "2"
    before = mover.digests(vm)
    mover.core.migrate(vm, "n2")
    assert mover.digests(vm) == before
    assert mover.left("n1", vm) == []
    mover.core.terminate(vm)


def test_a_stopped_vm_is_terminated(mover: Mover) -> None:
    """From the front-end, where it is parked; and by a repeated epilog, which names the node it came from."""
    for host in ("", FRONTEND):
        vm = mover.vm(THIN, f"parked{host}")
        image = vm.disk(1).image
        assert image is not None
        mover.core.stop(vm.id)
        mover.core.terminate(vm.id, host)
        saved = mover.lab.run(["cat", mover.site.path(image)]).out
        assert saved[5 * MIB :].startswith(b"disk 1 of ")
        assert len(saved) == 10 * MIB, "DISK/SIZE is in whole MB"
        assert mover.parked(vm.id) == []
        assert mover.left("n1", vm.id) == []


def test_a_node_that_was_rebooted_without_its_links(mover: Mover) -> None:
    vm = mover.vm(THIN, "reboot")
    before = mover.digests(vm.id)
    mover.lab.sh("n1", 'rm -f "$1"/disk.*; lvchange -an vg-one-100/lv-one-$2-0', mover.directory(vm.id), str(vm.id))
    mover.lab.ssh("n1", ["/var/tmp/one/tm/fs_lvm_snap/activate"])
    assert mover.digests(vm.id) == before
    report = mover.lab.ssh("n1", ["/var/tmp/one/tm/fs_lvm_snap/monitor_ds", "/var/lib/one/datastores/100"]).out
    line = next(row for row in report.decode().splitlines() if f"ID = {vm.id}," in row)
    assert "DISK_SIZE=[ID=0,SIZE=" in base64.b64decode(line.split('"')[1]).decode()
    mover.core.terminate(vm.id)


def test_a_live_migration(mover: Mover) -> None:
    """OpenNebula before 7.2 is refused; a failure leaves the source alone; a success gives it up."""
    vm = mover.vm(THIN, "live").id
    before = mover.digests(vm)
    old = mover.core.assign(vm, "n2", lcm=4)
    where = [old.host, "n2", old.directory, str(vm), str(THIN)]
    mover.lab.put("/var/lib/one/remotes/vmm/kvm/migrate", b"#!/bin/sh\n", mode=0o755)
    stubs = "/var/lib/one/remotes/tm/fs_lvm_snap"
    with pytest.raises(ActionFailed, match="does not copy disks on LVM in a live migration; migrate without --live"):
        mover.core.run([f"{stubs}/premigrate", *where])
    mover.lab.put("/var/lib/one/remotes/vmm/kvm/migrate", b"#!/bin/sh\n# ^/dev/vg-one\n", mode=0o755)
    mover.core.run([f"{stubs}/premigrate", *where])
    assert set(mover.digests(vm)) == set(before)
    mover.core.run([f"{stubs}/failmigrate", *where])
    assert mover.left("n2", vm) == []
    mover.core.run([f"{stubs}/premigrate", *where])
    mover.lab.ssh("n1", ["sh", "-euc", AS_LIBVIRT, "sh", mover.directory(vm)], timeout=600)
    mover.core.run([f"{stubs}/postmigrate", *where])
    assert mover.digests(vm) == before
    assert mover.left("n1", vm) == []
    mover.core.terminate(vm)


def test_a_source_that_cannot_be_reached(mover: Mover) -> None:
    vm = mover.site.vm(THIN, Disk(0, kind="swap", size=8 * MIB), host="no-such-host").id
    old = mover.core.assign(vm, "n2")
    with pytest.raises(ActionFailed, match="no-such-host"):
        mover.core.run(move_lines(mover.now(vm), old.host, old.directory)[0])
    assert mover.left("n2", vm) == []

"""Disks that move between nodes, to another datastore, to the front-end and back: content kept, nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.lab.test_guests import MODES, THICK, THIN, Site, holed, md5, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import ActionFailed, Disk, Vm, argv, move_lines
from vafnebula.units import MIB

# the guest of the VM in the directory $1 has written to its disks, and was saved
GUEST = """
cd "$1"
for n in 0 1; do
    printf "disk $n of $1" | dd of=disk.$n oflag=seek_bytes seek=5242880 conv=notrunc,fsync status=none
done
head -c 3000017 /dev/urandom >checkpoint
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


def test_a_source_that_cannot_be_reached(mover: Mover) -> None:
    vm = mover.site.vm(THIN, Disk(0, kind="swap", size=8 * MIB), host="no-such-host").id
    old = mover.core.assign(vm, "n2")
    with pytest.raises(ActionFailed, match="no-such-host"):
        mover.core.run(move_lines(mover.now(vm), old.host, old.directory)[0])
    assert mover.left("n2", vm) == []

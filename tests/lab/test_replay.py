"""A real OpenNebula's life with transfer drivers, replayed: every recorded call, in order, against the lab.

tests/data/tm-replay.txt has the calls.  A VM's own calls keep their order; different VMs are replayed side by side, as
one_tm runs different scripts.  After every step each disk holds what it held, or what the step was to make of it.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.conftest import clean
from tests.lab.test_guests import DATASTORE, THIN, Site, holed, md5, site_of
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import STUBS, Disk, Done, Image, Vm
from vafnebula.lab.spec import FRONTEND
from vafnebula.units import MIB

OTHER = 104  # the other system datastore of the recording: a thin VG that this test makes
HOSTS = {"node1": "n1", "node2": "n2", "localhost": "n1", "vm": FRONTEND}
# What is not replayed, and why.  Enabling one is taking it out of here.
NOT_HERE = {"monitor": "of a datastore with SHARED=YES: ours are SHARED=NO, and it is refused"}
CALLS = [
    line.split(" ")
    for line in (Path(__file__).parents[1] / "data/tm-replay.txt").read_text().splitlines()
    if not line.startswith("#")
]
RECORD = (Path(__file__).parents[1] / "data/tm-backup-stdin.xml").read_bytes()  # what the backups' calls got on stdin
# The VM of the backups was made before the recording: this call is made up.
UNRECORDED = (
    "0 before-K01-deploy 0 trace clone vm:/var/lib/one//datastores/101/0bc4bcd34ed3b7783ad9b46092d9b591 "
    "node1:/var/lib/one//datastores/100/23/disk.0 23 101"
)
PERSISTENT = ("5f9a45de", "ba7a7263")
ONLY = {int(vm) for vm in os.environ.get("VAF_VMS", "").split()}  # to look at some: VAF_VMS="3 19"
ONE_AT_A_TIME = threading.Lock()
MAKERS = ("clone", "ln", "mkimage", "mkswap")
CONTEXT = b"""#!/bin/sh
shift $(($# - 3))
host=${1%%:*} path=$(echo "${1#*:}" | tr -s /)
exec ssh "$host" "mkdir -p '${path%/*}' && echo context >'$path'"
"""
MIGRATE = b"#!/bin/sh\n# disks that are links to /dev/vg-one-* are copied, since 7.2\n"
# what libvirt does in a live migration with storage copy: $1 source directory, $2 destination, $3 directory there
COPY = """
cd "$1"
for d in disk.*; do
    [ -b $d ] || continue
    gzip -1 <$d | ssh "$2" "gzip -d | dd of=$3/$d bs=1M iflag=fullblock conv=notrunc,fsync status=none"
done
"""
COMPARE = 'cd "$1" && qemu-img compare -U -f raw -F qcow2 "disk.$2" "backup/disk.$2.0"'
# DIRECTORY parked|- [DISK TEXT]: what its disks hold; then a guest writes TEXT to DISK, and what that holds afterwards
LOOK = """
import hashlib, json, os, re, sys

def look(disk):
    first, whole, size = hashlib.md5(), hashlib.md5(), 0
    with open(directory + "/disk." + disk, "rb", buffering=0) as f:
        for piece in iter(lambda: f.read(8 << 20), b""):
            if size == 0:
                first.update(piece)
            whole.update(piece)
            size += len(piece)
    return [size, first.hexdigest(), whole.hexdigest()]

def is_ours(name):
    path = directory + "/" + name
    if not re.fullmatch(r"disk\\.\\d+", name) or not (os.path.islink(path) or kind == "parked"):
        return False
    with open(path, "rb") as f:
        return f.read(8) != b"context\\n"

directory, kind, *guest = sys.argv[1:]
names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
found = {name[5:]: look(name[5:]) for name in names if is_ours(name)}
after = dict(found)
if guest and guest[0] in found:
    with open(directory + "/disk." + guest[0], "r+b", buffering=0) as f:
        f.seek(5 << 20)
        f.write(guest[1].encode())
        os.fsync(f.fileno())
    after[guest[0]] = look(guest[0])
print(json.dumps([found, after]))
"""
OTHER_VG = """
export DM_DISABLE_UDEV=1
cp /etc/lvm/lvm.conf /root/lvm.conf
sed -i 's#"a|^(#"a|^(/dev/mapper/pv104|#' /etc/lvm/lvm.conf
lvcreate -qq --yes -Wn -n host104 -L 1G vg-one-200
dmsetup create pv104 --table "0 2097152 linear /dev/vg-one-200/host104 0"
vgcreate -qq vg-one-104 /dev/mapper/pv104
lvcreate -qq --yes --type thin-pool -n vaf-thinpool -l 90%FREE -Zy -c 64k --addtag vafnebula vg-one-104
"""
NO_OTHER_VG = """
export DM_DISABLE_UDEV=1
vgremove -qq --yes --force vg-one-104 || :
dmsetup remove --retry pv104 || :
lvremove -qq --yes vg-one-200/host104 || :
cp /root/lvm.conf /etc/lvm/lvm.conf
"""
Look = dict[str, list[object]]  # disk -> size, digest of the first 8 MiB, digest of all


@pytest.fixture
def site(clean_lab: Lab) -> Iterator[Site]:
    with site_of(clean_lab) as made:
        try:
            for node in clean_lab.nodes:
                clean_lab.sh(node, OTHER_VG)
            clean_lab.put("/var/lib/one/remotes/tm/ssh/context", CONTEXT, mode=0o755)
            clean_lab.put("/var/lib/one/remotes/vmm/kvm/migrate", MIGRATE, mode=0o755)
            yield made
        finally:
            remotes = "/var/lib/one/remotes"
            clean_lab.run(["rm", "-rf", f"{remotes}/tm/ssh", f"{remotes}/vmm/kvm"], user="root")
            for node in clean_lab.nodes:
                clean_lab.sh(node, NO_OTHER_VG)
                clean(clean_lab, node)


@dataclass
class Player:
    """Replays the calls of one VM."""

    site: Site
    vm: int
    calls: list[list[str]]
    images: dict[str, Image]
    disks: dict[int, Disk] = field(default_factory=dict)
    snapshots: dict[tuple[str, str], list[object]] = field(default_factory=dict)
    where: tuple[str, str] = ("", "")  # host and directory of the VM now
    assigned: str = ""  # the step that made the last history record
    held: Look = field(default_factory=dict)

    def play(self) -> None:
        for number, step, _, _, action, *words in self.calls:
            verb = action.partition(".")[0]
            if verb not in NOT_HERE:
                done = self.call(step, verb, [self.translated(step, w) for w in words])
                assert (done.code, done.err) == (0, ""), f"{number} {step} {action}: {done.err}"
                self.check(f"{number} {step} {action} {' '.join(words)}", verb, words)

    def translated(self, step: str, word: str) -> str:
        """A recorded word, for the lab.  The machine `vm` is the front-end, but in V* it is a hypervisor."""
        host, colon, path = word.partition(":")
        if host in HOSTS:
            mapped = "n2" if step.startswith("V") and "/disk." in path + "/disk." and host == "vm" else HOSTS[host]
            return mapped + colon + self.translated(step, path) if colon else mapped
        word = re.sub(r"/datastores/(?:101|103)/(\w+)", self.image_path, word)
        word = word.replace("/datastores/102/", f"/datastores/{THIN}/")
        return {"101": str(DATASTORE), "103": str(DATASTORE), "102": str(THIN)}.get(word, word)

    def image_path(self, found: re.Match[str]) -> str:
        """Every VM has persistent images of its own: here several live at once."""
        own = f"{self.vm}-" if found[1][:8] in PERSISTENT else ""
        return f"/datastores/{DATASTORE}/{own}{found[1][:8]}"

    # ---- a call

    def call(self, step: str, verb: str, words: list[str]) -> Done:
        if verb in MAKERS:
            self.make(step, verb, words)
        elif verb in ("mv", "premigrate"):
            self.go(step, verb, words)
        elif verb == "postmigrate" and len(words) == 5:
            self.copy_as_libvirt(words)
        if "backup" in verb:
            told = self.site.lab.run([f"{STUBS}/{verb}", *words], input=RECORD, check=False, timeout=600)
            return Done(told.argv, told.code, 0.0, told.out.decode(), told.err.decode())
        done = self.site.core.begin([f"{STUBS}/{verb}", *words]).result(600)
        if verb == "mv" and "/disk." not in words[1]:
            self.where = (words[1].partition(":")[0], words[1].partition(":")[2].replace("//", "/"))
        elif verb == "postmigrate":
            self.where = (words[1], words[2].replace("//", "/"))
        return done

    def make(self, step: str, verb: str, words: list[str]) -> None:
        place = next(w for w in words[1:] if "/disk." in w)
        number = int(place.rpartition(".")[2])
        if verb in ("clone", "ln"):
            source = words[0].partition(":")[2]
            name = source.rpartition("/")[2]
            with ONE_AT_A_TIME:
                if source not in self.images:
                    self.images[source] = self.site.image(name, holed(name)[: 8 * MIB], persistent=verb == "ln")
            self.disks[number] = Disk(number, image=self.images[source])
        else:
            swap = verb == "mkswap" or words[1] == "swap"
            self.disks[number] = Disk(number, kind="swap" if swap else "fs", size=int(words[0]) * MIB)
        host, _, path = place.partition(":")
        self.where = (host, path.replace("//", "/").rpartition("/")[0])
        self.record(step if "deploy" in step or not self.assigned else self.assigned, host, path)

    def go(self, step: str, verb: str, words: list[str]) -> None:
        host, _, path = words[1].partition(":")
        if host != FRONTEND:
            self.record(step, host, path or f"{words[2]}/disk.0")

    def record(self, step: str, host: str, path: str) -> None:
        """OpenNebula's record of the VM: one more history record when this step is the first to need one."""
        sds = int(re.findall(r"/datastores/(\d+)/", path)[0])
        old = self.site.core.vms.get(self.vm)
        disks = tuple(self.disks.values())
        before = old.before if old else ()
        if old and self.assigned != step:
            before = (*before, (old.host, old.sds))
        self.assigned = step
        self.site.core.record(Vm(self.vm, host, sds, disks, before, lcm=8))

    def copy_as_libvirt(self, words: list[str]) -> None:
        source, directory = self.where
        self.site.lab.ssh(
            source, ["sh", "-euc", COPY, "sh", directory, words[1], words[2].replace("//", "/")], timeout=600
        )

    # ---- what came of it

    def look(self, *guest: str) -> tuple[Look, Look]:
        """What the disks hold before and after a `guest` wrote a text to a disk."""
        host, directory = self.where
        command = ["python3", "-I", "-B", "-c", LOOK, directory, "parked" if host == FRONTEND else "-", *guest]
        lab = self.site.lab
        out = lab.run(command).out if host == FRONTEND else lab.ssh(host, command, user="root").out
        found, after = json.loads(out)
        return found, after

    def check(self, call: str, verb: str, words: list[str]) -> None:
        """The disks hold what they should after `call`, and guests go on writing when one has been made."""
        if verb in ("premigrate", "context") or (verb == "mv" and "/disk." in words[1]):
            return
        disk = re.sub(r".*/disk\.(\d+).*", r"\1", " ".join(words))
        guest = (disk, f"{call} of {self.vm}") if verb in MAKERS or verb.startswith("snap_create") else ()
        now, after = self.look(*guest) if self.where[0] else ({}, {})
        if verb in ("mv", "postmigrate", "cpds", "snap_create", "snap_create_live", "snap_delete") or "backup" in verb:
            assert now == self.held, f"{call}: a disk is not what it was"
        if verb.startswith("snap_create"):
            self.snapshots[disk, words[1]] = now[disk]
        elif verb == "snap_revert":
            assert now[disk][1] == self.snapshots[disk, words[1]][1], f"{call}: not what the snapshot held"
        elif verb == "cpds" and words[2] != "-1":
            path = self.translated("", words[1]).replace("//", "/")
            assert md5(self.site.lab.run(["cat", path]).out[: 8 * MIB]) == self.snapshots[disk, words[2]][1], call
        elif verb == "resize":
            assert now[disk][0] == int(words[1]) * MIB, f"{call}: not as large as asked for"
            assert now[disk][1] == self.held[disk][1], f"{call}: content changed"
        elif verb in ("clone", "ln"):
            image = next(i for s, i in self.images.items() if s.endswith(self.translated("", words[0])[-12:]))
            assert now[disk][1] == md5(holed(image.source.rpartition("/")[2])[: 8 * MIB]), call
        elif verb.startswith("prebackup"):
            self.site.lab.sh(self.where[0], COMPARE, self.where[1], words[1])
        elif verb.startswith("postbackup"):
            assert self.site.lab.sh(self.where[0], 'cd "$1" && ls', self.where[1]).split() == ["disk.0"], call
        elif verb in ("delete", "mvds"):
            assert disk not in now, f"{call}: it is still there"
        assert not guest or after != now, f"{call}: a guest cannot write"
        self.held = after


def test_a_recorded_life(site: Site) -> None:
    players: dict[int, Player] = {}
    images: dict[str, Image] = {}
    for call in [UNRECORDED.split(" "), *CALLS]:
        if call[4].partition(".")[0] not in NOT_HERE:
            *_, vm, _ = [int(w) for w in call[5:] if w.isdigit()]
            players.setdefault(vm, Player(site, vm, [], images)).calls.append(call)
    players = {vm: p for vm, p in players.items() if not ONLY or vm in ONLY}
    assert (ONLY or {3, 19, 20, 23, 24, 26}) <= set(players)
    longest_first = sorted(players.values(), key=lambda p: -len(p.calls))
    with ThreadPoolExecutor(max_workers=3) as pool:
        jobs = [pool.submit(p.play) for p in longest_first]
    assert [str(job.exception()) for job in jobs if job.exception()] == []
    ended = [vm for vm, p in players.items() if p.calls[-1][4] == "delete" and "/disk." not in p.calls[-1][5]]
    assert (ONLY or {0, 3, 19, 20, 21, 23, 24, 26}) <= set(ended)
    for node in site.lab.nodes:
        for vm in ended:
            assert site.lab.sh(node, f"lvs --noheadings -o lv_full_name -S lv_tags=vaf.vm={vm}") == ""
            assert site.lab.sh(node, f"find /var/lib/one/datastores -path '*/[0-9]*/{vm}' -mindepth 2") == ""
    parked = site.lab.run(
        ["find", "/var/lib/one/datastores", "-mindepth", "2", "-path", "*/[0-9]*/[0-9]*", "-type", "d"]
    )
    assert parked.out.decode().split() == []

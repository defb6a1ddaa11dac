"""Backups as OpenNebula makes them: stubs on the front-end, real thin_delta on the node, a repository of files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.test_guests import DATASTORE, MODES, THICK, THIN, Site, content, holed, refusal, site_of
from tests.lab.test_points import belonging, patched, write
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import STUBS, Done, Vm, vm_xml
from vafnebula.units import MIB

# What a backup datastore's driver does: the node's files ($1) go to the repository ($2)
CARRY = 'mkdir -p "$2"; cp --sparse=always "$1"/* "$2"/'
# ... and what its restore does: increments 0..$3 of disk 0 in $1 become the raw image $2
MERGE = """
cd "$1"
for i in $(seq 1 "$3"); do qemu-img rebase -u -f qcow2 -F qcow2 -b "disk.0.$((i - 1))" "disk.0.$i"; done
qemu-img convert -O raw "disk.0.$3" "$2"
"""


@pytest.fixture
def site(clean_lab: Lab) -> Iterator[Site]:
    with site_of(clean_lab) as made:
        yield made


def start(site: Site, verb: str, vm: Vm, *, mode: str = "FULL", last: int = -1, result: str = "") -> Done:
    words = f"<BACKUPS><BACKUP_CONFIG><MODE>{mode}</MODE><LAST_INCREMENT_ID>{last}</LAST_INCREMENT_ID></BACKUP_CONFIG>"
    record = vm_xml(vm).replace("</VM>", f"{words}</BACKUPS>{result}</VM>")
    call = [f"{STUBS}/{verb}", f"{vm.host}:{vm.directory}", "0", f"one-{vm.id}", "-", str(vm.id), str(vm.sds)]
    done = site.lab.run(call, input=record.encode(), check=False)
    return Done(done.argv, done.code, 0.0, done.out.decode(), done.err.decode())


def good(done: Done) -> None:
    assert (done.code, done.out, done.err) == (0, "", "")


def place(site: Site, vm: Vm) -> str:
    return site.link(vm).replace("disk.0", "backup")


def repository(site: Site) -> str:
    return f"{site.lab.datastore(DATASTORE)}/repository"


def test_a_chain_of_increments(site: Site) -> None:
    data = holed("base")
    vm = site.of(THIN, site.image("base", data))
    site.act("clone", vm)
    for increment, offset in ((0, 0), (1, 3 * MIB), (2, 0)):
        piece = bytes(MIB) if increment == 2 else content(f"piece-{increment}", MIB)
        data = patched(data, piece, offset)
        write(site, vm, piece, offset)
        good(start(site, "prebackup_live", vm, mode="INCREMENT", last=increment - 1))
        size = int(site.sh('stat -c %s "$1"', f"{place(site, vm)}/disk.0.{increment}"))
        assert increment == 0 or size < 2 * MIB, "an increment holds what changed"
        site.sh(CARRY, place(site, vm), repository(site))
        good(start(site, "postbackup_live", vm, mode="INCREMENT", last=increment - 1))
    assert belonging(site, vm) == {"", "-b1", "-b2"}
    site.sh('test ! -e "$1"', place(site, vm))
    site.sh(MERGE, repository(site), "/tmp/merged", "2")
    assert site.holds(vm, data)
    found = site.look({"/tmp/merged": len(data), site.link(vm): len(data)})
    assert found["/tmp/merged"].digest == found[site.link(vm)].digest
    assert found["/tmp/merged"].rest == 0
    write(site, vm, content("regretted", 2 * MIB), 2 * MIB)
    restored(site, vm, "2")
    assert site.holds(vm, data)
    assert belonging(site, vm) == {"", "-b1", "-b2"}
    failure = "<BACKUP_RESULT>FAILURE</BACKUP_RESULT>"
    good(start(site, "prebackup_live", vm, mode="INCREMENT", last=2))
    good(start(site, "postbackup_live", vm, mode="INCREMENT", last=2, result=failure))
    assert belonging(site, vm) == {"", "-b2"}
    line = refusal(start(site, "prebackup_live", vm, mode="INCREMENT", last=7))
    assert "what increment 7 left of disk 0 on this node does not exist; make a full backup" in line
    assert belonging(site, vm) == {"", "-b2"}


def restored(site: Site, vm: Vm, increment: str) -> None:
    """Restore disk 0, through ssh, from an image that OpenNebula's programs make of the repository."""
    site.sh('mv /tmp/merged "$1/merged" && chmod 644 "$1/merged"', repository(site))
    site.core.document("one.image.info", 16, "<IMAGE><ID>16</ID><DATASTORE_ID>105</DATASTORE_ID></IMAGE>")
    site.core.document("one.datastore.info", 105, "<DATASTORE><ID>105</ID><DS_MAD>files</DS_MAD></DATASTORE>")
    programs = "/var/lib/one/remotes/datastore"
    site.lab.run(["mkdir", "-p", f"{programs}/files"])
    disks = f'{{"0": "file://{repository(site)}/merged"}}'
    site.lab.put(f"{programs}/files/ls", f"#!/bin/sh\ncat >/dev/null\necho '{disks}'\n".encode())
    site.lab.put(f"{programs}/downloader.sh", b'#!/bin/sh\nexec cat "${2#file://}"\n')
    site.lab.run(["chmod", "755", f"{programs}/files/ls", f"{programs}/downloader.sh"])
    call = [f"{STUBS}/restore", f"{vm.host}:{vm.directory}", str(vm.id), "16", increment, "-1"]
    done = site.core.run(call)
    assert (done.out, done.err) == ("", "")
    site.sh('test ! -e "$1"', site.link(vm).replace("disk.0", ".restore"))


@MODES
def test_a_full_one_of_a_vm_that_is_off(site: Site, sds: int) -> None:
    vm = site.of(sds, site.image("base", holed("base")))
    site.act("clone", vm)
    write(site, vm, content("work", MIB))
    good(start(site, "prebackup", vm))
    site.sh(CARRY, place(site, vm), repository(site))
    good(start(site, "postbackup", vm))
    assert belonging(site, vm) == {""}
    site.sh(MERGE, repository(site), "/tmp/merged", "0")
    assert site.holds(vm, patched(holed("base"), content("work", MIB)))
    found = site.look({"/tmp/merged": 9 * MIB, site.link(vm): 9 * MIB})
    assert found["/tmp/merged"].digest == found[site.link(vm)].digest
    if sds == THICK:
        with site.unchanged():
            line = refusal(start(site, "prebackup_live", vm))
        assert "a backup of a running VM, or an incremental one, needs mode thin" in line


def test_the_sudo_rule_allows_two_messages_and_no_others(site: Site) -> None:
    pool = "vg--one--100-vaf--thinpool-tpool"

    def allowed(*words: str) -> bool:
        """`sudo -l COMMAND` tells without running it."""
        return site.lab.ssh(site.node, ["sudo", "-n", "-l", "dmsetup", *words], check=False).code == 0

    assert allowed("message", pool, "0", "reserve_metadata_snap")
    assert allowed("message", pool, "0", "release_metadata_snap")
    for words in (
        ("message", pool, "0", "delete 1"),
        ("message", pool, "0", "delete", "1", "0", "reserve_metadata_snap"),
        ("message", f"{pool} 0 delete 1 vg--one--100-vaf--thinpool-tpool", "0", "reserve_metadata_snap"),
        ("message", "vg--one--10x-vaf--thinpool-tpool", "0", "reserve_metadata_snap"),
        ("message", "--verifyudev", pool, "0", "reserve_metadata_snap"),
        ("remove", pool),
        (),
    ):
        assert not allowed(*words), words

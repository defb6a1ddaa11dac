"""VM records: what a real OpenNebula sent, and what must be refused."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafnebula import errors, units
from vafnebula.one import xml

DATA = Path(__file__).parents[2] / "data/vm"


def recorded(name: str) -> bytes:
    return (DATA / f"{name}.xml").read_bytes()


def running(disk: int, **values: str) -> xml.Vm:
    """The recorded running VM, with attributes of a disk changed."""
    root = ET.fromstring(recorded("vm-running"))
    element = next(d for d in root.iterfind("TEMPLATE/DISK") if d.findtext("DISK_ID") == str(disk))
    for name, value in values.items():
        for old in element.findall(name):
            element.remove(old)
        ET.SubElement(element, name).text = value
    return xml.vm(ET.tostring(root), 3)


def test_a_running_vm() -> None:
    vm = xml.vm(recorded("vm-running"), 3)
    assert (vm.id, vm.seq, vm.host, vm.sds, sorted(vm.attributes)) == (3, 0, "node1", 100, [0, 1, 2, 3, 4])


def test_an_image_disk() -> None:
    disk = xml.vm(recorded("vm-running"), 3).disk(0)
    assert disk == xml.Disk(
        id=0,
        type="FILE",
        size=64 * units.MIB,
        source="/var/lib/one//datastores/101/0bc4bcd34ed3b7783ad9b46092d9b591",
        datastore=101,
        image=0,
        clone=True,
        save=False,
        readonly=False,
        format="qcow2",
        driver="qcow2",
        filesystem="",
        label="",
    )


def test_a_persistent_disk_and_volatile_ones() -> None:
    vm = xml.vm(recorded("vm-running"), 3)
    persistent, scratch, swap = vm.disk(1), vm.disk(2), vm.disk(3)
    assert persistent.save
    assert not persistent.clone
    assert (scratch.type, scratch.filesystem, scratch.image, scratch.datastore) == ("FS", "ext4", -1, 100)
    assert (swap.type, swap.filesystem, swap.size) == ("SWAP", "", 16 * units.MIB)


def test_the_last_history_record_counts() -> None:
    vm = xml.vm(recorded("vm-running-after-system-ds-migration"), 3)
    assert (vm.seq, vm.host, vm.sds) == (19, "node2", 104)


def test_a_vm_that_never_ran_has_no_history() -> None:
    vm = xml.vm(recorded("vm-hold"), 3)
    assert (vm.seq, vm.host, vm.sds) == (-1, "", -1)
    assert vm.disk(0).size == 64 * units.MIB


@pytest.mark.parametrize("file", sorted(DATA.glob("*.xml")), ids=lambda f: f.stem)
def test_every_recorded_disk_can_be_read(file: Path) -> None:
    vm = xml.vm(file.read_bytes(), 20 if "tm-mad-system" in file.stem else 3)
    assert [vm.disk(n).id for n in vm.attributes] == sorted(vm.attributes)


def test_disks_of_all_template_siblings_count() -> None:
    text = b"<VM><ID>7</ID><TEMPLATE><DISK><DISK_ID>0</DISK_ID></DISK></TEMPLATE><TEMPLATE/>"
    text += b"<TEMPLATE><DISK><DISK_ID>1</DISK_ID><SIZE>5</SIZE></DISK></TEMPLATE></VM>"
    vm = xml.vm(text, 7)
    assert vm.disk(0).size == 0
    assert vm.disk(1).size == 5 * units.MIB


def test_a_bad_value_matters_only_to_its_own_disk() -> None:
    assert running(2, FS="zfs; reboot").disk(0).size == 64 * units.MIB


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"FS": "XFS"}, "xfs"),
        ({"FS": "raw"}, ""),
        ({"FS": ""}, ""),
    ],
)
def test_file_systems(values: dict[str, str], wanted: str) -> None:
    assert running(2, **values).disk(2).filesystem == wanted


@pytest.mark.parametrize(
    "values",
    [
        {"FS": "zfs"},
        {"FS": "xfs -f /dev/sda"},
        {"FS": "../xfs"},
        {"VAF_LABEL": "thirteenchars"},
        {"VAF_LABEL": "a b"},
        {"VAF_LABEL": "$(reboot)"},
        {"SIZE": "-1"},
        {"SIZE": "1e9"},
        {"SIZE": "99999999999999"},
        {"TYPE": "fs\nERROR: 1"},
        {"DATASTORE_ID": "1; reboot"},
        {"FORMAT": "raw,file=/etc/shadow"},
        {"DRIVER": "x" * 33},
    ],
    ids=lambda v: next(iter(v.items()))[0],
)
def test_hostile_values_are_refused_by_name(values: dict[str, str]) -> None:
    with pytest.raises(errors.BadArgument, match=f"DISK/{next(iter(values))}"):
        running(2, **values).disk(2)


def test_a_disk_that_is_not_there() -> None:
    with pytest.raises(errors.BadRecord, match="no disk 9 in it; look at `onevm show -x 3`"):
        xml.vm(recorded("vm-running"), 3).disk(9)


LAUGHS = (
    b"""<!DOCTYPE VM [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><VM><ID>3</ID><NAME>&b;</NAME></VM>"""
)
OUTSIDE = b"""<!DOCTYPE VM SYSTEM "file:///etc/passwd"><VM><ID>3</ID></VM>"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "malformed"),
        (b"<VM><ID>3</ID>", "malformed"),
        (b"not xml", "malformed"),
        (b"<VM><ID>3</ID><NAME>&undefined;</NAME></VM>", "malformed"),
        (b"<VM><ID>3</ID></VM><VM/>", "malformed"),
        (b"\xff\xfe\x00", "malformed"),
        (LAUGHS, "document type"),
        (OUTSIDE, "document type"),
        (b"<VM><ID>4</ID></VM>", "it is VM 4"),
        (b"<VM/>", "without ID"),
        (b"<VM_POOL><ID>3</ID></VM_POOL>", "VM_POOL"),
        (b"<VM><ID>3</ID><TEMPLATE><DISK/></TEMPLATE></VM>", "DISK_ID"),
        (b"<VM><ID>3</ID><TEMPLATE><DISK><DISK_ID>-1</DISK_ID></DISK></TEMPLATE></VM>", "DISK_ID"),
        (
            b"<VM><ID>3</ID><TEMPLATE><DISK><DISK_ID>1</DISK_ID></DISK><DISK><DISK_ID>1</DISK_ID></DISK></TEMPLATE></VM>",
            "same DISK_ID",
        ),
        (b"<VM><ID>3</ID><HISTORY_RECORDS><HISTORY><SEQ>x</SEQ></HISTORY></HISTORY_RECORDS></VM>", "SEQ"),
    ],
)
def test_what_is_not_a_vm_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(errors.BadRecord, match=why):
        xml.vm(text, 3)


@given(st.binary())
def test_any_bytes_are_refused_in_one_way(text: bytes) -> None:
    with pytest.raises(errors.BadRecord):
        xml.vm(text, 3)


@given(st.integers(0, 17_000), st.binary(max_size=8))
def test_a_damaged_record_is_read_or_refused(place: int, damage: bytes) -> None:
    text = recorded("vm-running")
    try:
        vm = xml.vm(text[:place] + damage + text[place + len(damage) :], 3)
        for number in vm.attributes:
            vm.disk(number)
    except (errors.BadRecord, errors.BadArgument):
        return

"""Each action's request, from the recorded calls and the recorded record of the same VM."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.unit.one.test_xml import recorded, running
from vafnebula import errors, units
from vafnebula.model import Clone, Delete, DiskRef, Image, Link, MakeImage, MakeSwap, Save
from vafnebula.model_points import Resize, SaveAs, SnapCreate, SnapDelete, SnapRevert
from vafnebula.one import xml
from vafnebula.tm import argv, resize

DIRECTORY = "/var/lib/one/datastores/100/3"
BASE = "/var/lib/one/datastores/101/0bc4bcd34ed3b7783ad9b46092d9b591"
DATA = "/var/lib/one/datastores/101/5f9a45dee0caa24535b2946abb02823b"


SILENT = ("delete", "snap_create", "snap_create_live", "snap_delete", "snap_revert", "resize", "cpds")


def disk(number: int) -> DiskRef:
    return DiskRef(vm=3, disk=number, seq=0, sds=100, directory=DIRECTORY)


def request(line: str, vm: xml.Vm | None = None) -> Any:
    """The request for a call of VM 3 (`HERE` is its directory on node1); the record is read at most once."""
    name, *arguments = line.replace("HERE", f"node1:{DIRECTORY}").split()
    call = argv.parse(name, arguments)
    asked: list[int] = []

    def read() -> xml.Vm:
        asked.append(call.vm)
        return vm or xml.vm(recorded("vm-running"), call.vm)

    made = import_module(f"vafnebula.tm.{call.verb}").request(call, read)
    assert len(asked) == (0 if call.verb in SILENT else 1)
    return made


def test_clone_takes_the_size_from_the_record() -> None:
    assert request(f"clone vm:{BASE} HERE/disk.0 3 101") == Clone(disk(0), Image(101, BASE), 64 * units.MIB)


def test_clone_of_a_disk_that_is_larger_than_its_image() -> None:
    assert request(f"clone vm:{BASE} HERE/disk.0 3 101", running(0, SIZE="4096")).size == 4 * units.GIB


def test_ln_of_a_persistent_image() -> None:
    assert request(f"ln vm:{DATA} HERE/disk.1 3 101") == Link(disk(1), Image(101, DATA), 16 * units.MIB, readonly=False)


@pytest.mark.parametrize("values", [{"TYPE": "CDROM"}, {"READONLY": "YES"}])
def test_ln_of_a_cdrom_or_read_only_image(values: dict[str, str]) -> None:
    assert request(f"ln vm:{DATA} HERE/disk.1 3 101", running(1, **values)).readonly


def test_mkswap() -> None:
    wanted = MakeSwap(disk(3), 16 * units.MIB, "swap-3")
    assert request("mkswap 16 HERE/disk.3 3 100") == wanted
    assert request("mkimage 16 swap HERE/disk.3 3 100") == wanted
    assert request("mkswap 16 HERE/disk.3 3 100", running(3, VAF_LABEL="vafswap")).label == "vafswap"


def test_mkimage_takes_file_system_and_label_from_the_record() -> None:
    made = request("mkimage 20 raw HERE/disk.2 3 100")
    assert made == MakeImage(disk(2), 20 * units.MIB, "ext4", "scratch-2")
    made = request("mkimage 20 raw HERE/disk.2 3 100", running(2, FS="xfs", VAF_LABEL="data"))
    assert (made.filesystem, made.label) == ("xfs", "data")
    assert request("mkimage 20 raw HERE/disk.2 3 100", running(2, FS="")).filesystem == ""


def test_a_default_label_fits_into_xfs() -> None:
    root = recorded("vm-running").replace(b"<DISK_ID><![CDATA[2]]></DISK_ID>", b"<DISK_ID>1234567</DISK_ID>")
    made = request("mkimage 20 raw HERE/disk.1234567 3 100", xml.vm(root, 3))
    assert made.label == "scratch-1234"


def test_qcow2_is_refused_when_the_guest_would_look_for_it() -> None:
    """Disk 4 of the recorded VM is of that kind: its system datastore had no DRIVER."""
    with pytest.raises(errors.BadArgument, match="DRIVER=raw"):
        request("mkimage 24 qcow2 HERE/disk.4 3 100")
    assert request("mkimage 24 qcow2 HERE/disk.4 3 100", running(4, DRIVER="raw")).size == 24 * units.MIB


def test_mvds() -> None:
    assert request(f"mvds HERE/disk.1 {DATA} 3 101") == Save(disk(1), Image(101, DATA))
    assert request(f"mvds HERE/disk.9 {DATA} 3 101").disk.disk == 9


def test_delete_asks_nobody() -> None:
    assert request("delete HERE/disk.0 3 101") == Delete(3, 0, 100, DIRECTORY)
    assert request("delete HERE 3 100") == Delete(3, -1, 100, DIRECTORY)


def test_what_needs_nothing_but_its_arguments() -> None:
    place = replace(disk(0), seq=-1)
    assert request("snap_create HERE/disk.0 1 3 101") == SnapCreate(place, 1)
    assert request("snap_create_live HERE/disk.0 0 3 101") == SnapCreate(place, 0)
    assert request("snap_delete HERE/disk.0 1 3 101") == SnapDelete(place, 1)
    assert request("snap_revert HERE/disk.0 0 3 101") == SnapRevert(place, 0)
    assert request("resize HERE/disk.0 96 3 101") == Resize(place, 96 * units.MIB)
    assert request(f"cpds HERE/disk.0 {DATA} -1 3 101") == SaveAs(place, Image(101, DATA), -1)
    assert request(f"cpds HERE/disk.0 {DATA} 7 3 101") == SaveAs(place, Image(101, DATA), 7)


def test_an_undeployed_disk_is_resized_after_a_resume(tmp_path: Path) -> None:
    """OpenNebula names the node that the VM was on.  A card that a recreate left behind is no reason to refuse."""
    directory = tmp_path / "100/3"
    directory.mkdir(parents=True)
    (directory / "disk.0").touch()
    (directory / ".disk.0.vaf").write_text('{"seq": 0, "parts": []}')
    call = argv.parse("resize", [f"node1:{directory}/disk.0", "96", "3", "101"])
    vm = xml.vm(recorded("vm-running"), 3)
    assert resize.request(call, lambda: vm).size == 96 * units.MIB
    with pytest.raises(errors.NotFound, match=r"^an undeployed VM's volume does not exist; resume the VM, then resize"):
        resize.request(call, lambda: replace(vm, lcm=64))


def test_the_last_history_record_is_the_one_that_asks() -> None:
    moved = xml.vm(recorded("vm-running-after-system-ds-migration"), 3)
    assert request("mkswap 16 node2:/var/lib/one/datastores/104/3/disk.3 3 104", moved).disk.seq == 19


@pytest.mark.parametrize("line", [f"clone vm:{BASE} HERE/disk.9 3 101", "mkimage 1 raw HERE/disk.9 3 100"])
def test_a_disk_that_the_record_does_not_have(line: str) -> None:
    with pytest.raises(errors.BadRecord, match="no disk 9"):
        request(line)

"""What the stand-in for OpenNebula's core says is what the driver understands, and what OpenNebula was seen to say."""

from __future__ import annotations

import pytest

from vafnebula.lab.opennebula import STUBS, ActionFailed, Disk, Done, Image, Vm, argv, checked, vm_xml
from vafnebula.one import xml
from vafnebula.tm import argv as arguments
from vafnebula.units import GIB, MIB

IMAGE = Image(1, "/var/lib/one//datastores/1/img", 256 * MIB)
KEPT = Image(1, "/var/lib/one//datastores/1/kept", 64 * MIB, persistent=True)
VM = Vm(
    7,
    "n1",
    100,
    (Disk(0, IMAGE), Disk(1, kind="swap", size=GIB), Disk(2, size=3 * GIB, filesystem="xfs"), Disk(3, KEPT)),
)


@pytest.mark.parametrize(
    ("verb", "disk", "said"),
    [
        ("clone", 0, "frontend:/var/lib/one//datastores/1/img n1:/var/lib/one//datastores/100/7/disk.0 7 1"),
        ("ln", 3, "frontend:/var/lib/one//datastores/1/kept n1:/var/lib/one//datastores/100/7/disk.3 7 1"),
        ("mkswap", 1, "1024 n1:/var/lib/one//datastores/100/7/disk.1 7 100"),
        ("mkimage", 2, "3072 raw n1:/var/lib/one//datastores/100/7/disk.2 7 100"),
        ("mvds", 3, "n1:/var/lib/one//datastores/100/7/disk.3 /var/lib/one//datastores/1/kept 7 1"),
        ("delete", 0, "n1:/var/lib/one//datastores/100/7/disk.0 7 1"),
        ("delete", 2, "n1:/var/lib/one//datastores/100/7/disk.2 7 100"),
        ("delete", -1, "n1:/var/lib/one//datastores/100/7 7 100"),
    ],
)
def test_calls_have_opennebulas_shape(verb: str, disk: int, said: str) -> None:
    program, *words = argv(verb, VM, disk)
    assert program == f"{STUBS}/{verb}"
    assert words == said.split()
    call = arguments.parse(program, words)
    assert (call.vm, call.disk, call.sds) == (7, disk, 100)


def test_the_record_can_be_read() -> None:
    record = xml.vm(vm_xml(VM).encode(), 7)
    assert (record.host, record.sds, record.seq) == ("n1", 100, 0)
    system, swap, scratch, kept = (record.disk(n) for n in range(4))
    assert (system.source, system.size, system.clone, system.save) == (IMAGE.source, IMAGE.size, True, False)
    assert (swap.type, swap.size) == ("SWAP", GIB)
    assert (scratch.filesystem, scratch.size) == ("xfs", 3 * GIB)
    assert (kept.clone, kept.save) == (False, True)


def test_a_failed_call_says_what_the_driver_said() -> None:
    with pytest.raises(ActionFailed, match=r"^clone of disk 0: no$"):
        checked(Done(("clone",), 1, 0.1, "", "clone of disk 0: no\n"))
    with pytest.raises(ActionFailed, match="exit code 3 and said nothing"):
        checked(Done(("clone",), 3, 0.1, "", ""))

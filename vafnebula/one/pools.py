"""OpenNebula's pools -> records of what an admin's commands need: hosts, datastores, images, VMs.

Shapes were read from what OpenNebula 7.4 sent (tests/data/pools, tests/data/vm); 6.10 has the same elements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from vafnebula import units
from vafnebula.one import xml

DRIVER = "fs_lvm_snap"
KINDS = {"0": "image", "1": "system", "2": "file", "3": "backup"}
OFFLINE = 8
DONE, READY = 6, (1, 2)  # states of a VM, and of an image (READY, USED)
# State, and in state ACTIVE (3) the LCM state, in which no action changes disks: RUNNING, UNKNOWN, and failed boots.
ACTIVE, SUSPENDED, POWEROFF = 3, 5, 8
STEADY_LCM = (3, 16, 36, 37, 47, 48)


@dataclass(frozen=True)
class Host:
    """`room` is what monitoring reported of system datastores: id -> free bytes."""

    id: int
    name: str
    state: int
    room: Mapping[int, int]


@dataclass(frozen=True)
class Datastore:
    """`kind` is one of KINDS' values, `root` the directory above it, as `/var/lib/one/datastores`."""

    id: int
    name: str
    kind: str
    driver: str
    root: str
    attributes: Mapping[str, str]

    @property
    def ours(self) -> bool:
        return self.driver == DRIVER


@dataclass(frozen=True)
class Image:
    """A registered image; `size` in bytes."""

    id: int
    name: str
    datastore: int
    source: str
    size: int
    persistent: bool
    state: int


@dataclass(frozen=True)
class Vm:
    """A VM as its last history record has it; -1 and '' when it never ran.  `disks`: attributes by disk id."""

    id: int
    name: str
    state: int
    lcm: int
    host: str
    sds: int
    seq: int
    disks: Mapping[int, Mapping[str, str]]

    @property
    def steady(self) -> bool:
        """Its disks are finished, on `host`, and no action is about to change that."""
        return self.state in (SUSPENDED, POWEROFF) or (self.state == ACTIVE and self.lcm in STEADY_LCM)


def hosts(pool: bytes) -> list[Host]:
    return [
        Host(
            id=_id(e),
            name=e.findtext("NAME", ""),
            state=_number(e, "STATE"),
            room={_id(d): _number(d, "FREE_MB") * units.MIB for d in e.iterfind("HOST_SHARE/DATASTORES/DS")},
        )
        for e in xml.parse(pool).iterfind("HOST")
    ]


def datastores(pool: bytes) -> list[Datastore]:
    return [
        Datastore(
            id=_id(e),
            name=e.findtext("NAME", ""),
            kind=KINDS.get(e.findtext("TYPE", ""), "unknown"),
            driver=e.findtext("TM_MAD", ""),
            root=re.sub("/+", "/", e.findtext("BASE_PATH", "")).rpartition("/")[0],
            attributes={child.tag: child.text or "" for child in e.iterfind("TEMPLATE/*")},
        )
        for e in xml.parse(pool).iterfind("DATASTORE")
    ]


def images(pool: bytes) -> list[Image]:
    return [
        Image(
            id=_id(e),
            name=e.findtext("NAME", ""),
            datastore=_number(e, "DATASTORE_ID"),
            source=re.sub("/+", "/", e.findtext("SOURCE", "")),
            size=_number(e, "SIZE") * units.MIB,
            persistent=e.findtext("PERSISTENT") == "1",
            state=_number(e, "STATE"),
        )
        for e in xml.parse(pool).iterfind("IMAGE")
    ]


def vms(pool: bytes) -> list[Vm]:
    return [_vm(e) for e in xml.parse(pool).iterfind("VM")]


def vm(document: bytes) -> Vm:
    return _vm(xml.parse(document))


def _vm(e: ET.Element) -> Vm:
    histories = [(_number(h, "SEQ"), h) for h in e.iterfind("HISTORY_RECORDS/HISTORY")]
    seq, last = max(histories, key=lambda pair: pair[0], default=(-1, None))
    return Vm(
        id=_id(e),
        name=e.findtext("NAME", ""),
        state=_number(e, "STATE"),
        lcm=_number(e, "LCM_STATE"),
        host="" if last is None else last.findtext("HOSTNAME", ""),
        sds=-1 if last is None else _number(last, "DS_ID"),
        seq=seq,
        disks={
            _number(d, "DISK_ID"): {child.tag: child.text or "" for child in d} for d in e.iterfind("TEMPLATE/DISK")
        },
    )


def _id(element: ET.Element) -> int:
    return _number(element, "ID")


def _number(element: ET.Element, name: str) -> int:
    """An integer child.  Raises ValueError: what OpenNebula sends has one."""
    return int(element.findtext(name, "") or "-1")

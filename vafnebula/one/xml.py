"""OpenNebula's XML -> frozen records.

The parser is the standard library's (expat): it starts four times faster than lxml, and nothing outside the
standard library then stands between a stub and its ssh.  A document type is refused at its first byte, so no
entity is ever defined, expanded or fetched.  The shape of a VM was read from what OpenNebula 7.4 sent
(tests/data/vm); 6.10 has the same elements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from vafnebula import errors, names
from vafnebula.one.size import size_mib

FILESYSTEMS = ("ext2", "ext3", "ext4", "xfs")
"""What DISK/FS may say: OpenNebula's own default list (SUPPORTED_FS in remotes/etc/datastore/datastore.conf)."""

_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,12}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{0,32}")


class _Strict(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"it has a document type ({name})")


def parse(text: bytes) -> ET.Element:
    """The root of a document without document type and entities.  Raises ValueError with a reason for a person."""
    parser = ET.XMLParser(target=_Strict())  # noqa: S314
    try:
        parser.feed(text)
        root: ET.Element = parser.close()
    except ET.ParseError as e:
        raise ValueError(f"malformed XML ({e})") from e
    return root


@dataclass(frozen=True)
class Disk:
    """One DISK of a VM.

    `size` is bytes; `type` upper case (FILE, BLOCK, CDROM; FS and SWAP are volatile); `source`, `datastore` and `image`
    are '' and -1 for volatile disks; `save` says that the disk goes back to its image; `driver` is the format that
    the guest will be told; `filesystem` and `label` are what a volatile disk shall hold, '' for nothing special.
    """

    id: int
    type: str
    size: int
    source: str
    datastore: int
    image: int
    clone: bool
    save: bool
    readonly: bool
    format: str
    driver: str
    filesystem: str
    label: str


@dataclass(frozen=True)
class Vm:
    """A VM as its last history record sees it: `seq`, `host`, system datastore `sds`; -1, '', -1 if it never ran.

    `attributes` are the DISKs as OpenNebula has them, by id; users may write most of them, `disk()` checks.  `lcm` is
    LCM_STATE, -1 if unknown; `history` are (seq, host, system datastore) of all records in the document, oldest first.
    """

    id: int
    seq: int
    host: str
    sds: int
    attributes: Mapping[int, Mapping[str, str]]
    lcm: int = -1
    history: tuple[tuple[int, str, int], ...] = ()

    @property
    def hosts(self) -> set[str]:
        return {host for _, host, _ in self.history}

    @property
    def drivers(self) -> set[str]:
        """The transfer drivers of its disks."""
        return {_word("DISK/TM_MAD", raw["TM_MAD"]) for raw in self.attributes.values() if raw.get("TM_MAD")}

    def disk(self, number: int) -> Disk:
        """The checked record of disk `number`.  Raises BadRecord when there is none, BadArgument for a bad value."""
        if number not in self.attributes:
            raise errors.BadRecord(vm=self.id, why=f"there is no disk {number} in it")
        raw = self.attributes[number]
        return Disk(
            id=number,
            type=_word("DISK/TYPE", raw.get("TYPE", "")).upper(),
            size=size_mib("DISK/SIZE", raw["SIZE"]) if raw.get("SIZE") else 0,
            source=raw.get("SOURCE", ""),
            datastore=_identifier("DISK/DATASTORE_ID", raw),
            image=_identifier("DISK/IMAGE_ID", raw),
            clone=_yes(raw.get("CLONE")),
            save=_yes(raw.get("SAVE")),
            readonly=_yes(raw.get("READONLY")),
            format=_word("DISK/FORMAT", raw.get("FORMAT", "")).lower(),
            driver=_word("DISK/DRIVER", raw.get("DRIVER", "")).lower(),
            filesystem=_filesystem(raw.get("FS", "")),
            label=_label(raw.get("VAF_LABEL", "")),
        )


def vm(text: bytes, number: int) -> Vm:
    """Read VM `number` from what one.vm.info or `onevm show -x` gave.

    DISKs of all TEMPLATE siblings count (7.x writes several in hook and driver documents).  Raises BadRecord.
    """
    try:
        root = parse(text)
        history = [_history(h) for h in root.iterfind("HISTORY_RECORDS/HISTORY")]
        attributes = [_attributes(d) for d in root.iterfind("TEMPLATE/DISK")]
    except (ValueError, errors.BadArgument) as e:
        raise errors.BadRecord(vm=number, why=e) from e
    if root.tag != "VM" or root.findtext("ID") != str(number):
        raise errors.BadRecord(vm=number, why=f"it is {root.tag[:20]} {(root.findtext('ID') or 'without ID')[:20]}")
    disks = dict(attributes)
    if len(disks) != len(attributes):
        raise errors.BadRecord(vm=number, why="two of its disks have the same DISK_ID")
    seq, host, sds = max(history, default=(-1, "", -1))
    lcm = root.findtext("LCM_STATE", "")
    state = int(lcm) if lcm.isascii() and lcm.isdigit() else -1
    return Vm(number, seq, host, sds, disks, state, tuple(sorted(history)))


def _history(element: ET.Element) -> tuple[int, str, int]:
    seq, sds = (names.identifier(what, element.findtext(what, "")) for what in ("SEQ", "DS_ID"))
    return seq, element.findtext("HOSTNAME", ""), sds


def _attributes(element: ET.Element) -> tuple[int, dict[str, str]]:
    number = names.identifier("DISK_ID", element.findtext("DISK_ID", ""))
    return number, {child.tag: (child.text or "").strip() for child in element}


def _identifier(what: str, raw: Mapping[str, str]) -> int:
    text = raw.get(what.rsplit("/", 1)[-1], "")
    return names.identifier(what, text) if text else -1


def _yes(text: str | None) -> bool:
    return (text or "").upper() == "YES"


def _word(what: str, text: str) -> str:
    if not _WORD.fullmatch(text):
        raise errors.BadArgument(what=what, value=text, why="must be one word")
    return text


def _filesystem(text: str) -> str:
    name = text.lower()
    if name in ("", "raw"):
        return ""
    if name not in FILESYSTEMS:
        raise errors.BadArgument(what="DISK/FS", value=text, why=f"must be one of {', '.join(FILESYSTEMS)}, or absent")
    return name


def _label(text: str) -> str:
    if text and not _LABEL.fullmatch(text):
        raise errors.BadArgument(what="DISK/VAF_LABEL", value=text, why="must be 1 to 12 of A-Z a-z 0-9 _ . -")
    return text

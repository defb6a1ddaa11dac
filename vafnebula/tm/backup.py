"""What the actions around a backup have in common: the VM's record on stdin, and where the drivers look for files."""

from __future__ import annotations

import base64
import re
import sys
from dataclasses import dataclass

from vafnebula import errors
from vafnebula.one import xml
from vafnebula.tm.argv import Call

_BASE = re.compile(r"^\s*(?:export\s+)?BACKUP_BASE_PATH=[\"']?(/[^\"'\s]+)[\"']?\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Backup:
    """What OpenNebula says about a backup: `last` is the last increment that it has, -1 for none.

    `record` is the VM's record for vm.xml, `failed` whether the backup that is cleaned up after failed (7.4 tells).
    """

    incremental: bool
    last: int
    failed: bool
    record: str

    @property
    def increment(self) -> int:
        """The number of the increment to make; 0 is a full backup."""
        return self.last + 1 if self.incremental else 0


def read(call: Call) -> Backup:
    """What stdin says: the VM's record, as plain XML.  Raises BadRecord, BadArgument."""
    return parse(sys.stdin.buffer.read(), call.vm)


def parse(text: bytes, vm: int) -> Backup:
    try:
        root = xml.parse(text)
        last = int(root.findtext("BACKUPS/BACKUP_CONFIG/LAST_INCREMENT_ID") or -1)
    except ValueError as e:
        raise errors.BadRecord(vm=vm, why=e) from e
    if root.tag != "VM" or root.findtext("ID") != str(vm) or last < -1:
        raise errors.BadRecord(vm=vm, why="what came on stdin is not it")
    mode = (root.findtext("BACKUPS/BACKUP_CONFIG/MODE") or "FULL").upper()
    if (root.findtext("BACKUPS/BACKUP_CONFIG/INTERACTIVE") or "NO").upper() == "YES":
        raise errors.BadArgument(what="backup", value="INTERACTIVE", why="this driver makes files; set INTERACTIVE=NO")
    return Backup(
        incremental=mode == "INCREMENT",
        last=last,
        failed=(root.findtext("BACKUP_RESULT") or "").upper() == "FAILURE",
        record=base64.encodebytes(text).decode(),
    )


def place(call: Call) -> str:
    """The directory on the node in which the backup datastore's driver expects the files (remotes/etc/datastore)."""
    try:
        with open(f"{call.remotes}/etc/datastore/datastore.conf", encoding="utf-8") as file:  # noqa: PTH123
            found = _BASE.findall(file.read())
    except (OSError, UnicodeDecodeError):
        found = []
    return f"{found[-1].rstrip('/')}/{call.vm}/backup" if found else f"{call.directory}/backup"

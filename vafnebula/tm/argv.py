"""What OpenNebula's drivers put on a command line -> a checked Call.  Pure.

Shapes and traps are OpenNebula's (7.4 recorded, 6.10 the same): paths come as `/var/lib/one//datastores/...`, the
action's name may carry `.<system driver>`, `FE:` is in front of SOURCE for clone and ln but not for mvds, and
`disk.N` at the very end is what tells a disk from a VM's directory.  Everything else is refused: these words
become paths on a node and the operand of ssh.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vafnebula import errors, names
from vafnebula.one.size import size_mib

SHAPES: dict[str, tuple[str, ...]] = {
    "clone": ("FE:SOURCE", "HOST:SDIR/disk.N", "VM", "DS"),
    "ln": ("FE:SOURCE", "HOST:SDIR/disk.N", "VM", "DS"),
    "mkswap": ("SIZE_MB", "HOST:SDIR/disk.N", "VM", "DS"),
    "mkimage": ("SIZE_MB", "FORMAT", "HOST:SDIR/disk.N", "VM", "DS"),
    "mvds": ("HOST:SDIR/disk.N", "SOURCE", "VM", "DS"),
    "delete": ("HOST:SDIR[/disk.N]", "VM", "DS"),
    "snap_create": ("HOST:SDIR/disk.N", "SNAPID", "VM", "DS"),
    "snap_create_live": ("HOST:SDIR/disk.N", "SNAPID", "VM", "DS"),
    "snap_delete": ("HOST:SDIR/disk.N", "SNAPID", "VM", "DS"),
    "snap_revert": ("HOST:SDIR/disk.N", "SNAPID", "VM", "DS"),
    "resize": ("HOST:SDIR/disk.N", "SIZE_MB", "VM", "DS"),
    "prebackup": ("HOST:SDIR", "DISKS", "DEPLOY_ID", "JOB", "VM", "DS"),
    "prebackup_live": ("HOST:SDIR", "DISKS", "DEPLOY_ID", "JOB", "VM", "DS"),
    "postbackup": ("HOST:SDIR", "DISKS", "DEPLOY_ID", "JOB", "VM", "DS"),
    "postbackup_live": ("HOST:SDIR", "DISKS", "DEPLOY_ID", "JOB", "VM", "DS"),
    "restore": ("HOST:SDIR", "VM", "IMAGE", "INCREMENT|-1", "DISK|-1"),
    "cpds": ("HOST:SDIR/disk.N", "SOURCE", "SNAPID|-1", "VM", "DS"),
    "premigrate": ("SRCHOST", "DSTHOST", "SDIR", "VM", "DS", "[TM]"),
    "postmigrate": ("SRCHOST", "DSTHOST", "SDIR", "VM", "DS", "[TM]"),
    "failmigrate": ("SRCHOST", "DSTHOST", "SDIR", "VM", "DS", "[TM]"),
    "mv": ("SRCHOST:SDIR[/disk.N]", "HOST:SDIR[/disk.N]", "VM", "DS"),
}
FORMATS = ("raw", "qcow2", "swap")

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_TM = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_SDIR = re.compile(r"(?P<directory>(?P<root>/.+)/(?P<sds>[0-9]+)/(?P<vm>[0-9]+))(?:/disk\.(?P<disk>[0-9]+))?")


@dataclass(frozen=True)
class Call:
    """One call of an action.

    `directory` is the VM's on `host`, `root` the datastores' root above it, `sds` the system datastore, `disk` -1 for
    the directory itself.  `datastore` is the last argument: the image datastore, or `sds` for volatile disks.
    `source` is the image file as the front-end sees it, `size` bytes, `format` one of FORMATS, `snap` a disk snapshot;
    '', 0 and -1 where the action has none.  `disks` are those to be backed up; `backup` (an image) and `increment` what
    is restored, `disk` then the only disk to restore.  `from_*` is where a disk or directory comes from, '' and -1 if
    it does not.  `remotes` is the directory that holds tm/, etc/ and vafnebula/; `caller` the driver that calls ours.
    """

    verb: str
    host: str
    vm: int
    disk: int
    sds: int
    datastore: int
    root: str
    directory: str
    source: str = ""
    size: int = 0
    format: str = ""
    snap: int = -1
    disks: tuple[int, ...] = ()
    backup: int = -1
    increment: int = -1
    from_host: str = ""
    from_sds: int = -1
    from_directory: str = ""
    remotes: str = ""
    caller: str = ""

    @property
    def title(self) -> str:
        """What this is, for the front of an error: OpenNebula shows 61 characters of it, and knows the VM."""
        whole = "the VM" if "HOST:SDIR" in SHAPES[self.verb] else "the VM directory"
        return f"{self.verb} of {whole if self.disk < 0 else f'disk {self.disk}'} on {self.host}"

    @property
    def image(self) -> str:
        """The image file as the node sees it.

        The front-end may have another DATASTORE_LOCATION than the nodes, so SOURCE's `<root>/<DS>/` is replaced by the
        root found in the destination; a SOURCE elsewhere is taken as it is (as the stock fs_lvm driver does).
        """
        parent, _, name = self.source.rpartition("/")
        if parent.rpartition("/")[2] != str(self.datastore):
            return self.source
        return f"{self.root}/{self.datastore}/{name}"


def verb(program: str) -> str:
    """The action that a stub stands for: its file name without directory and `.<system driver>`."""
    name = program.rpartition("/")[2].partition(".")[0].lower()
    if name not in SHAPES:
        raise errors.BadArgument(what="action", value=name, why=f"must be one of {', '.join(SHAPES)}")
    return name


def parse(program: str, arguments: Sequence[str]) -> Call:
    """The checked call of stub `program` with `arguments`.  Raises BadArgument."""
    name = verb(program)
    shape = SHAPES[name]
    least = len([word for word in shape if not word.startswith("[")])
    if not least <= len(arguments) <= len(shape):
        raise errors.BadArgument(what="number of arguments", value=len(arguments), why=f"expected {' '.join(shape)}")
    given = dict(zip(shape, arguments))
    vm = names.identifier("VM", given["VM"])
    if "SDIR" in given:
        return _migration(program, given, vm, names.identifier("DS", given["DS"]))
    host, where = _split(next(given[k] for k in shape if k.startswith("HOST:")))
    found, sds, disk = _place("destination", where, vm)
    whole = "HOST:SDIR" in given
    if (disk < 0 and not whole and name not in ("delete", "mv")) or (disk >= 0 and whole):
        raise errors.BadArgument(what="destination", value=where, why=_why_not(where))
    datastore = names.identifier("DS", given["DS"]) if "DS" in given else sds
    from_host, from_sds, from_directory = "", -1, ""
    if name == "mv":
        from_host, path = _split(given["SRCHOST:SDIR[/disk.N]"])
        source_place, from_sds, other = _place("source", path, vm)
        from_directory = source_place["directory"]
        if other != disk:
            raise errors.BadArgument(what="source", value=path, why="it is not what the destination is")
    if datastore != sds and (name in ("mkswap", "mkimage") or disk < 0):
        raise errors.BadArgument(what="DS", value=datastore, why=f"the destination is in datastore {sds}")
    if "DISK|-1" in given:
        disk = _or_none("DISK", given["DISK|-1"])
    source = ""
    if "SOURCE" in given:
        source = path_of(given["SOURCE"])
    elif "FE:SOURCE" in given:
        source = _split(given["FE:SOURCE"])[1]
    return Call(
        verb=name,
        host=host,
        vm=vm,
        disk=disk,
        sds=sds,
        datastore=datastore,
        root=found["root"],
        directory=found["directory"],
        source=source,
        size=size_mib("SIZE", given["SIZE_MB"]) if "SIZE_MB" in given else 0,
        format=_format(given["FORMAT"]) if "FORMAT" in given else "",
        snap=names.identifier("SNAPID", given["SNAPID"])
        if "SNAPID" in given
        else _or_none("SNAPID", given.get("SNAPID|-1", "-1")),
        disks=_disks(given["DISKS"]) if "DISKS" in given else (),
        backup=names.identifier("IMAGE", given["IMAGE"]) if "IMAGE" in given else -1,
        increment=_or_none("INCREMENT", given.get("INCREMENT|-1", "-1")),
        from_host=from_host,
        from_sds=from_sds,
        from_directory=from_directory,
        remotes=remotes_of(program),
    )


def remotes_of(program: str) -> str:
    """The directory that holds tm/, etc/ and vafnebula/, from the path of a stub."""
    return program.rsplit("/", 3)[0] if program.count("/") >= 3 else ""


def _migration(program: str, given: dict[str, str], vm: int, datastore: int) -> Call:
    """A call of live migration: two hosts, and the VM's directory on the second."""
    found, sds, disk = _place("directory", path_of(given["SDIR"]), vm)
    if disk >= 0 or sds != datastore:
        raise errors.BadArgument(what="directory", value=given["SDIR"], why=f"not VM {vm}'s in datastore {datastore}")
    caller = given.get("[TM]", "")
    if not _TM.fullmatch(caller):
        raise errors.BadArgument(what="TM", value=caller, why="not a driver's name")
    return Call(
        verb=verb(program),
        host=_host(given["DSTHOST"]),
        vm=vm,
        disk=-1,
        sds=sds,
        datastore=datastore,
        root=found["root"],
        directory=found["directory"],
        from_host=_host(given["SRCHOST"]),
        remotes=remotes_of(program),
        caller=caller,
    )


def _place(what: str, where: str, vm: int) -> tuple[re.Match[str], int, int]:
    """A VM's directory or disk: the match, the system datastore, the disk or -1."""
    found = _SDIR.fullmatch(where)
    if not found:
        raise errors.BadArgument(what=what, value=where, why=_why_not(where))
    if _canonical("VM", found["vm"]) != vm:
        raise errors.BadArgument(what=what, value=where, why=f"it does not belong to VM {vm}")
    disk = -1 if found["disk"] is None else _canonical("disk", found["disk"])
    return found, _canonical("datastore", found["sds"]), disk


def _split(text: str) -> tuple[str, str]:
    """`HOST:PATH` at the first colon, both checked."""
    host, colon, path = text.partition(":")
    if not colon:
        raise errors.BadArgument(what="argument", value=text, why="must be HOST:PATH")
    return _host(host), path_of(path)


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise errors.BadArgument(what="host", value=text, why="not a host name")
    return text


def path_of(text: str) -> str:
    """An absolute path with its slashes squeezed, that means what it says."""
    if not text.startswith("/"):
        raise errors.BadArgument(what="path", value=text, why="must be absolute")
    if len(text) > 1024 or any(c.isspace() or not c.isprintable() or c == ":" for c in text):
        raise errors.BadArgument(what="path", value=text, why="must be short and without blanks, colons, control codes")
    path = re.sub("/+", "/", text)
    if {".", ".."} & set(path.split("/")):
        raise errors.BadArgument(what="path", value=text, why="must not contain . or ..")
    if len(path) > 1:
        path = path.rstrip("/")
    return path


def _canonical(what: str, text: str) -> int:
    """An id inside a path: `007` would be another file than the one that is named with its number."""
    number = names.identifier(what, text)
    if str(number) != text:
        raise errors.BadArgument(what=what, value=text, why="not a plain number")
    return number


def _why_not(path: str) -> str:
    if path.endswith(("/kernel", "/initrd")):
        return "kernels and initrds are files: give their FILE datastore another TM_MAD, as ssh or shared"
    return "expected <datastores>/<DS>/<VM>/disk.<N>"


def _or_none(what: str, text: str) -> int:
    return -1 if text == "-1" else names.identifier(what, text)


def _disks(text: str) -> tuple[int, ...]:
    """`0:1:2`, each once."""
    found = tuple(_canonical("disk", word) for word in text.split(":"))
    if len(set(found)) != len(found):
        raise errors.BadArgument(what="DISKS", value=text, why="a disk is named twice")
    return found


def _format(text: str) -> str:
    if text not in FORMATS:
        raise errors.BadArgument(what="FORMAT", value=text, why="must be raw; a file system is asked for in DISK/FS")
    return text

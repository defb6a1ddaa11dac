"""Everything that can go wrong, sorted by who can mend it.

    Error
    ├── RequestError     the caller asked for something impossible: template author, user
    │   ├── BadArgument        malformed argv, path, id, size or name
    │   ├── ImageTooLarge      the image does not fit in the disk that was asked for
    │   ├── ImageUnusable      a file, but not an image that can become a disk
    │   ├── TooSmall           a volume too small for what shall go into it
    │   └── NeedsThin          what a classic snapshot cannot do
    ├── SiteError        the installation: the admin
    │   ├── BadConfig          the site file
    │   ├── ImageMissing       the image cannot be read on the node
    │   ├── NoBackup           a backup cannot be found or read
    │   ├── ApiFailed          OpenNebula's API gave no usable answer
    │   ├── BadRecord          OpenNebula's record of a VM cannot be used
    │   ├── Unreachable        ssh could not reach or enter the node
    │   ├── NodePackage        the node half is missing, broken or of another version
    │   ├── SudoRefused        the node's sudo rule is missing
    │   ├── NoVolumeGroup      the node has no VG for this system datastore
    │   ├── NoThinPool         the VG has no usable thin pool
    │   ├── NoDelta            what changed between two snapshots cannot be told
    │   ├── CannotMigrate      this OpenNebula, mode or datastore cannot do it: another way is named
    │   └── NotOurs            a volume or link that we did not make stands in the way
    ├── HostError        the node, now: wait, free something, repair
    │   ├── NoRoom             VG or thin pool is too full
    │   ├── NoMetadata         the thin pool's metadata is too full
    │   ├── Busy               a volume is in use, or another action holds the lock
    │   ├── NotFound           a volume that should be there is not
    │   ├── VolumeExists       a volume of that name is already there
    │   ├── ImageChanged       the source changed while it was copied
    │   ├── CopyFailed         a copy was short, failed or did not compare equal
    │   ├── NotCopied          a source may not go, because its copy is not there
    │   ├── SourceDead         a disk cannot be had from a host that is taken for dead
    │   ├── BrokenSnapshot     a thick snapshot overflowed: its content is lost
    │   ├── CommandFailed      a command failed in a way nobody foresaw
    │   ├── SystemRefused      the operating system refused an operation on a file
    │   └── Interrupted        a signal or a delete asked this action to stop
    └── Bug              ours

A class is a sentence with named blanks (*why; what to do*) and the facts that fill them.  What failed is known
to the caller, who puts it in front: `clone of disk 0 of VM 7 on node1: why; what to do`.  OpenNebula 7 glues the
stderr lines of a driver together and reads a number after a level word as a VM id, so a sentence is one line,
never starts with a level word or a dash, and has at most LIMIT characters.  A VM's attribute ERROR shows the first 100
of a message, 39 of them OpenNebula's own (`Error executing image transfer script: `) and some 23 that say what failed
(VirtualMachine.cc): so the reason comes early, and paths after it.
"""

from __future__ import annotations

LIMIT = 250


def one_line(text: str, limit: int = LIMIT) -> str:
    """`text` as one printable line of at most `limit` characters: safe for OpenNebula's log and for a terminal.

    The end of an overlong line is kept rather than its middle: it says what to do.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) <= limit:
        return line
    tail = limit // 2
    return line[: limit - tail - 5].rstrip() + " ... " + line[-tail:].lstrip()


class Error(Exception):
    """Base of all expected errors.  `blame` is who can mend it: request, site, host or bug."""

    blame = "bug"
    sentence = "{why}"

    def __init__(self, **facts: object) -> None:
        super().__init__(facts)
        self.facts = facts

    def __str__(self) -> str:
        return one_line(self.sentence.format(**self.facts))


class RequestError(Error):
    blame = "request"


class BadArgument(RequestError):
    sentence = "{what} {value!r} is not acceptable: {why}"


class ImageTooLarge(RequestError):
    sentence = (
        "the image has {image} bytes but the disk only {disk}; set DISK/SIZE to at least {mib} MB or leave it out"
    )


class ImageUnusable(RequestError):
    sentence = "image cannot become a disk: {why} ({path}); {advice}"


class TooSmall(RequestError):
    sentence = "{size} bytes are too small for {what}, which needs {least}; set SIZE to at least {mib} MB"


class NeedsThin(RequestError):
    sentence = "{what} needs mode thin, and in system datastore {sds} it is thick; put such VMs in one of mode thin"


class SiteError(Error):
    blame = "site"


class BadConfig(SiteError):
    sentence = "{path}: {why}; correct the file and run `onehost sync -f`"


class ImageMissing(SiteError):
    sentence = "image cannot be read on the node: {why} ({path}); check that the image datastore is mounted there"


class NoBackup(SiteError):
    sentence = "backup image {image} cannot be restored: {why}; look at `oneimage show {image}` and its datastore"


class ApiFailed(SiteError):
    sentence = "OpenNebula's API at {endpoint} gave no answer for VM {vm}: {why}; {advice}"


class BadRecord(SiteError):
    sentence = "OpenNebula's record of VM {vm} cannot be used: {why}; look at `onevm show -x {vm}`"


class Unreachable(SiteError):
    sentence = "node cannot be reached by ssh: {why}; try `ssh {host} true` as oneadmin on the front-end"


class NodePackage(SiteError):
    sentence = "the node package {why}; run `onehost sync -f` on the front-end"


class SudoRefused(SiteError):
    sentence = "sudo refuses {program} to oneadmin on the node; install share/sudoers/vafnebula in /etc/sudoers.d there"


class NoVolumeGroup(SiteError):
    sentence = "volume group {vg} does not exist on the node; create it there, or schedule to hosts that have it"


class NoThinPool(SiteError):
    sentence = "{vg} has no usable thin pool {name}: {why}; create it, or set mode = thick for this datastore"


class NoDelta(SiteError):
    sentence = (
        "what changed since the last backup cannot be told: install thin-provisioning-tools on the node and "
        "share/sudoers/vafnebula with its lines for {vg}, or make a full backup"
    )


class CannotMigrate(SiteError):
    sentence = "{why}; {advice}"


class NotOurs(SiteError):
    sentence = "{what} exists but was not made by vafnebula; remove or rename it by hand after looking at it"


class HostError(Error):
    blame = "host"


class NoRoom(HostError):
    sentence = "{where} lacks room: {wanted} wanted, {free} free; remove VMs, evict images or add a disk"


class NoMetadata(HostError):
    sentence = (
        "metadata of thin pool {pool} is {percent} % full, which leaves too little; "
        "extend it: lvextend --poolmetadatasize +128M {pool}"
    )


class Busy(HostError):
    sentence = "{what} is in use: {why}; stop what uses it and retry"


class NotFound(HostError):
    sentence = "{what} does not exist; {advice}"


class VolumeExists(HostError):
    sentence = "volume {volume} already exists in {vg}; another action may just have made it, retry"


class ImageChanged(HostError):
    sentence = "image changed while it was copied; retry when nothing writes to {path}"


class CopyFailed(HostError):
    sentence = "copy failed: {why} ({source}); check disk and datastore of the node, then retry"


class NotCopied(HostError):
    sentence = "{what} of VM {vm} has no complete copy at the destination, so nothing is removed; recover with --retry"


class SourceDead(HostError):
    sentence = "{host} is taken for dead and {why}; {advice}"


class BrokenSnapshot(HostError):
    sentence = "snapshot {volume} overflowed and its content is lost; delete the VM, and raise cow_percent"


class CommandFailed(HostError):
    sentence = "{program} failed with exit code {code}: {why}; see the node's syslog"


class SystemRefused(HostError):
    sentence = "{path}: {why}; check the node's file systems and the owner of that path"


class Interrupted(HostError):
    sentence = "interrupted: {why}; nothing was left behind, retry if the disk is still wanted"


class Bug(Error):
    sentence = "internal error {why}; please report it with the node's syslog"


def rebuilt(name: str, text: str) -> Error:
    """The error that the other half reported as class `name` with sentence `text`; Bug for an unknown name."""
    known = {c.__name__: c for c in _descendants(Error)}
    cls = known.get(name, Bug)
    error = cls.__new__(cls)
    Exception.__init__(error, text)
    error.sentence = text.replace("{", "{{").replace("}", "}}")
    error.facts = {}
    return error


def _descendants(cls: type[Error]) -> list[type[Error]]:
    return [cls, *(d for child in cls.__subclasses__() for d in _descendants(child))]

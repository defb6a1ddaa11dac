"""Host: the effects a deed has on its node, each one method.

Everything that changes something goes through here, so that a test can fail, kill or halt a deed at any step by
subclassing.  Only process.run starts programs; LVM and mkfs.xfs go through `sudo -n`, everything else runs as
oneadmin, who owns the VM directories and, through group disk, may open the volumes.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, BinaryIO

from vafnebula import errors, process
from vafnebula.node import lvm_errors, signals

if TYPE_CHECKING:
    from vafnebula import ssh, wire
    from vafnebula.model import Order, Reply
    from vafnebula.model_moves import Place

# The PATH of an ssh command has no sbin on Debian, and nothing else of the login's environment concerns us.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
LVM_TIMEOUT = 120.0  # seconds; LVM waits for its own locks, and a busy VG makes it slow
TOOL_TIMEOUT = 600.0  # mkfs and mkswap touch metadata only
BLKZEROOUT = 0x127F  # linux/fs.h: _IO(0x12, 127)
ZERO_STEP = 1 << 30  # bytes per ioctl: an ioctl cannot be interrupted


class Host:
    """The node we run on.  `run_id` marks what this run makes: unique on the node for ever."""

    def __init__(self) -> None:
        self.run_id = f"{os.getpid():x}.{time.time_ns():x}"

    def lvm(self, argv: Sequence[str]) -> process.Completed:
        """Run an LVM command as root, to its end whatever signal comes.  The caller judges the exit code."""
        with signals.shielded():
            return process.run(["sudo", "-n", *argv], timeout=LVM_TIMEOUT, check=False, env=ENVIRONMENT)

    def query(self, argv: Sequence[str], timeout: float = LVM_TIMEOUT) -> process.Completed:
        """Run a program that only looks.  The caller judges the exit code."""
        return process.run(argv, timeout=timeout, check=False, env=ENVIRONMENT)

    def incoming(self) -> BinaryIO:
        """What comes behind the order."""
        return sys.stdin.buffer

    def outgoing(self) -> BinaryIO:
        """What goes out in front of the reply."""
        return sys.stdout.buffer

    def converse(self, place: Place, order: Order) -> AbstractContextManager[ssh.Conversation]:
        """Have another node (or this one once more) carry out an order that sends or takes a stream."""
        from vafnebula import ssh  # only what moves disks needs it

        return ssh.converse(place.host, order, place)

    def ask(self, place: Place, order: Order) -> Reply:
        """Have another node (or this one once more) carry out an order."""
        from vafnebula import ssh

        return ssh.ask(place.host, order, place)

    def receive(self, reader: wire.Reader, path: str, size: int) -> None:
        """Put what comes on a device or file of `size` bytes, flush it, read it back.  Raises CopyFailed."""
        from vafnebula import blocks

        try:
            with blocks.Sink(path, size) as sink:
                for change in reader.changes():
                    sink.put(change)
                for start, end in sink.zeros():
                    self.zero(path, start, end - start)
                sink.flush()
                sink.prove(reader.digest)
        except OSError as e:
            raise errors.CopyFailed(source=path, why=e.strerror or str(e)) from e

    def take_file(self, reader: wire.Reader, head: dict[str, Any], directory: str) -> None:
        """Put a file that comes below a VM's directory: whole and proven, or not at all."""
        from vafnebula import files

        files.take(reader, head, directory)

    def format(self, argv: Sequence[str], *, root: bool = False) -> None:
        """Run mkfs or mkswap, with `root` through sudo.  Raises SudoRefused, CommandFailed."""
        command = ["sudo", "-n", *argv] if root else argv
        done = process.run(command, timeout=TOOL_TIMEOUT, env=ENVIRONMENT, check=False)
        if done.code != 0:
            raise lvm_errors.refusal(argv[0], done)

    def copy(self, argvs: Sequence[Sequence[str]], locks: Sequence[int]) -> list[process.Completed]:
        """Run copying programs at once, for as long as they take; `locks` stay held until they end."""
        return process.run_together(argvs, timeout=None, env=ENVIRONMENT, pass_fds=locks)

    def zero(self, device: str, offset: int, length: int) -> None:
        """Make bytes [offset, offset+length) of `device` read as zeros, by the device's own means if it has any."""
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            while length > 0:
                step = min(length, ZERO_STEP)
                fcntl.ioctl(fd, BLKZEROOUT, struct.pack("QQ", offset, step))
                offset, length = offset + step, length - step
            os.fsync(fd)
        except OSError as e:
            raise errors.CopyFailed(source="zeros", why=f"{device}: {e.strerror}") from e
        finally:
            os.close(fd)

    def publish(self, device: str, link: str) -> None:
        """Make `link` point to `device`, atomically; the VM directory is made if need be."""
        with signals.shielded():
            directory = os.path.dirname(link)
            os.makedirs(directory, exist_ok=True)
            fresh = f"{link}.new"
            if os.path.lexists(fresh):
                os.unlink(fresh)
            os.symlink(device, fresh)
            os.replace(fresh, link)
            # The stock probes run df on a system datastore that has this file: wrong for a VG.
            monitor = os.path.join(os.path.dirname(directory), ".monitor")
            if os.path.lexists(monitor):
                os.unlink(monitor)

    def unlink(self, path: str) -> None:
        """Remove a file or link; gone already is fine."""
        if os.path.lexists(path):
            os.unlink(path)

    def remove_tree(self, directory: str) -> None:
        """Remove a VM directory; links in it are removed, never followed.  Gone already is fine."""
        if os.path.islink(directory):
            raise errors.NotOurs(what=f"link {directory} in place of a VM directory")
        if os.path.exists(directory):
            import shutil  # loads three compression libraries; only a delete needs it

            shutil.rmtree(directory)

    def make_directory(self, path: str) -> None:
        """Make a directory that others may not read, and those above it if need be; there already is fine."""
        os.makedirs(path, mode=0o750, exist_ok=True)

    def write_file(self, path: str, content: bytes) -> None:
        """Write a small file so that it is whole or absent after a crash."""
        fresh = f"{path}.new"
        with open(fresh, "wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        os.replace(fresh, path)
        sync_directory(os.path.dirname(path))

    def prepare_file(self, path: str, like: os.stat_result) -> None:
        """Make an empty file with the permissions of another; an older leftover of ours is emptied."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, like.st_mode & 0o777)
        finally:
            os.close(fd)

    def finish_file(self, path: str, size: int) -> None:
        """Give the file its exact size (a hole at the end was never written) and flush it."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Put `old` in the place of `new`, durably."""
        os.replace(old, new)
        sync_directory(os.path.dirname(new))


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

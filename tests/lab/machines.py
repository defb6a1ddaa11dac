"""Machines made of namespaces on one bridge: own network, mounts, host name, processes; this machine's programs.

A machine's root is an overlay over this machine's, its /dev holds what a small guest has, its syslog is read by the
test, and `poweroff` leaves a note.  Nothing is written outside of tmpfs, and killing a machine's first process ends it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import netns

# The first process of a machine: builds its root, then only reaps.  $1 name, $2 directory shared with the test.
_INIT = r"""
set -eu
hostname "$1"
ip link set lo up
mount --make-rprivate /
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work /mnt/root /mnt/shared
mount --bind "$2" /mnt/shared
mount -t overlay none -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
root=/mnt/root
mkdir -p $root/proc $root/sys $root/dev $root/run $root/tmp $root/shared
mount -t proc none $root/proc
mount -t sysfs none $root/sys
mount --rbind /sys/fs/cgroup $root/sys/fs/cgroup
mount -o remount,bind,ro $root/sys/fs/cgroup
mount -t tmpfs -o mode=0755 none $root/dev
mount -t tmpfs -o mode=0755 none $root/run
mount -t tmpfs -o mode=1777 none $root/tmp
mount --bind /mnt/shared $root/shared
cd $root/dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<END
$node
END
    mknod -m 666 $name c $major $minor
done
mkdir pts shm disk disk/by-id
mount -t devpts -o newinstance,ptmxmode=0666 none pts
ln -s pts/ptmx ptmx
ln -s /proc/self/fd fd
ln -s /shared/log log
mkdir -p $root/run/sshd $root/run/lock
printf '#!/bin/sh\necho off >/shared/poweroff\n' >$root/usr/local/sbin/poweroff
chmod 755 $root/usr/local/sbin/poweroff
rm -f $root/usr/sbin/policy-rc.d
cd $root
mkdir -p old
pivot_root . old
exec /usr/bin/python3 -c '
import os, time
os.chdir("/")
open("/shared/up", "w").close()
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
'
"""


@dataclass
class Machine:
    """One of them; `log` are the lines that its programs sent to syslog."""

    name: str
    address: str
    shared: Path
    keeper: subprocess.Popen[bytes]
    log_socket: socket.socket
    lines: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        children = Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children").read_text().split()
        return int(children[0])

    def run(
        self, *argv: str, stdin: bytes = b"", check: bool = True, user: str = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[bytes]:
        become = ["runuser", "-u", user, "--"] if user else []
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        command = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", *become, *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False, timeout=timeout)
        assert not check or done.returncode == 0, f"{self.name}: {argv[:3]}: {(done.stderr or done.stdout).decode()}"
        return done

    def sh(self, script: str, *words: str, check: bool = True) -> str:
        return self.run("sh", "-euc", script, "sh", *words, check=check).stdout.decode()

    def write(self, path: str, text: str | bytes, mode: str = "0644") -> None:
        data = text.encode() if isinstance(text, str) else text
        self.run("sh", "-euc", 'mkdir -p "$(dirname "$1")"; cat >"$1"; chmod "$2" "$1"', "sh", path, mode, stdin=data)

    def log(self) -> str:
        """Everything that was logged so far."""
        self.run("logger", "-p", "auth.info", mark := f"mark {len(self.lines)}")
        until(lambda: any(mark in line for line in self.lines))
        return "\n".join(line for line in self.lines if ": mark " not in line)

    def listen(self) -> None:
        """Read what is logged: a socket that nobody reads would stop whoever logs."""
        while True:
            line = self.log_socket.recv(65536)
            if not line:
                return
            self.lines.append(line.decode(errors="replace"))


class Machines:
    """A bridge with `address` of its own, and machines on it."""

    def __init__(self, directory: Path, address: str) -> None:
        self.directory, self.address = directory, address
        self.bridge = f"vafm{os.getpid()}"
        self.machines: dict[str, Machine] = {}

    def __enter__(self) -> Machines:
        self._ip("netns", "add", self.bridge)
        own = ("address", netns.BRIDGE_MAC, "type", "bridge", "forward_delay", "0")
        self._ip("-n", self.bridge, "link", "add", "br0", *own)
        self._ip("-n", self.bridge, "addr", "add", f"{self.address}/16", "dev", "br0")
        for device in ("br0", "lo"):
            self._ip("-n", self.bridge, "link", "set", device, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines.values():
            machine.keeper.kill()
            machine.keeper.wait()
            with contextlib.suppress(OSError):
                machine.log_socket.shutdown(socket.SHUT_RDWR)  # which wakes its reader
            machine.log_socket.close()
        subprocess.run(["ip", "netns", "del", self.bridge], check=False, capture_output=True)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets made in the block belong to the bridge's own host."""
        with netns.inside(f"/run/netns/{self.bridge}"):
            yield

    def boot(self, name: str, address: str) -> Machine:
        shared = self.directory / name
        shared.mkdir()
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.bind(str(shared / "log"))
        (shared / "log").chmod(0o666)
        command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-f",
            "--kill-child=KILL",
            "sh",
            "-c",
            _INIT,
            "sh",
        ]
        keeper = subprocess.Popen([*command, name, str(shared)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        machine = self.machines[name] = Machine(name, address, shared, keeper, log)
        threading.Thread(target=machine.listen, daemon=True).start()
        until(lambda: (shared / "up").exists() or keeper.poll() is not None)
        assert keeper.poll() is None, f"{name} did not boot"
        port = f"p{len(self.machines)}"
        peer = ("peer", "name", "eth0", "netns", str(machine.pid))
        self._ip("-n", self.bridge, "link", "add", port, "type", "veth", *peer)
        self._ip("-n", self.bridge, "link", "set", port, "master", "br0", "up")
        machine.run("ip", "addr", "add", f"{address}/16", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")
        return machine

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def loop_device(file: Path, size: str, *mkfs: str) -> Iterator[str]:
    """A block device of `size` with what `mkfs` makes on it."""
    subprocess.run(["truncate", "-s", size, str(file)], check=True)
    file.chmod(0o600)
    made = subprocess.run(["losetup", "-f", "--show", str(file)], check=True, capture_output=True, text=True)
    device = made.stdout.strip()
    try:
        subprocess.run([*mkfs, device], check=True, capture_output=True)
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
        file.unlink()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)

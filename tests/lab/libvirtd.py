"""A hypervisor's libvirt: Debian's libvirtd and QEMU domains, with /run, configuration and control groups of their own.

A libvirt without systemd needs version 1 control groups for that, which the machine must let us write.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.lab.machines import until

# $1: where it says that it is ready; then, of each hierarchy of control groups, its controllers.
_START = r"""
mount --make-rprivate /
mount -t sysfs none /sys
for place in /run /etc/libvirt /var/lib/libvirt /var/log /var/cache /sys/fs/cgroup; do
    mkdir -p $place
    mount -t tmpfs none $place
done
ready=$1
shift
for controllers; do
    mkdir "/sys/fs/cgroup/$controllers"
    mount -t cgroup -o "$controllers" none "/sys/fs/cgroup/$controllers"
done
ip link set lo up
for file in passwd group; do cp /etc/$file /run/$file; done
echo libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin >>/run/passwd
echo libvirt-qemu:x:64055: >>/run/group
for file in passwd group; do mount --bind /run/$file /etc/$file; done
cat >/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
security_driver = "none"
namespaces = []
stdio_handler = "file"
cgroup_controllers = [ "cpu", "cpuacct" ]
END
echo 'auth_unix_rw = "none"' >/etc/libvirt/libvirtd.conf
/usr/sbin/libvirtd >/run/libvirtd.log 2>&1 &
until virsh --quiet --connect qemu:///system version >/dev/null 2>&1; do
    kill -0 $! || { cat /run/libvirtd.log >&2; exit 1; }
    sleep 0.1
done
: >"$ready"
wait
"""
_DOMAIN = """
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><cputune><shares>{shares}</shares></cputune>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='virtio'/>{devices}</devices>
</domain>
"""


@dataclass(frozen=True)
class Libvirt:
    """`pid` is the first process of its namespaces; `groups` its control group for CPU."""

    pid: int
    groups: Path

    def virsh(self, *words: str, xml: str = "") -> str:
        command = ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "/usr/bin/virsh", "--quiet", *words]
        done = subprocess.run(command, input=xml, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, name: str, *options: str, shares: int = 1024, devices: str = "") -> None:
        """Start a domain of 64 MiB that is gone when it ends."""
        xml = _DOMAIN.format(name=name, shares=shares, devices=devices)
        self.virsh("create", *options, "/dev/stdin", xml=xml)

    def shares(self, name: str) -> int:
        """The kernel's word."""
        [file] = self.groups.glob(f"machine/*-{name}.libvirt-qemu/cpu.shares")
        return int(file.read_text())


@contextlib.contextmanager
def libvirtd(directory: Path, network: str = "") -> Iterator[Libvirt]:
    """In the network namespace `network`, or in a new one.  Skips the test where control groups do not allow it."""
    mounted = _hierarchies()
    if not any("cpu" in controllers.split(",") for controllers in mounted):
        pytest.skip("no writable version 1 control group for CPU, which a libvirt without systemd needs")
    ready = directory / "ready"
    own = {controllers: place / f"vaf-{os.getpid()}" for controllers, place in mounted.items()}
    for group in own.values():
        for old in group.parent.glob("vaf-*"):  # of a test run that was killed
            if not Path(f"/proc/{old.name[4:]}").exists():
                _remove(old)
        group.mkdir()
    enter = "".join(f"echo $$ >{group}/cgroup.procs; " for group in own.values())
    net = f"nsenter --net=/run/netns/{network} unshare" if network else "unshare -n"
    script = f'{enter}exec {net} -C -m -p -f --kill-child=KILL --mount-proc sh -euc "$@"'
    keeper = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "sh", "-euc", script, "sh", _START, "sh", ready, *own],
        stdin=subprocess.DEVNULL,
    )
    try:
        until(lambda: ready.exists() or keeper.poll() is not None)
        assert keeper.poll() is None, "libvirtd did not start"
        init = int(Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()[0])
        yield Libvirt(init, next(group for controllers, group in own.items() if "cpu" in controllers.split(",")))
    finally:
        keeper.kill()
        keeper.wait()
        for group in own.values():
            _remove(group)


def _hierarchies() -> dict[str, Path]:
    """Where this machine's version 1 control groups for CPU are mounted, by their controllers."""
    found = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        controllers = [o for o in options.split(",") if o in ("cpu", "cpuacct")]
        if kind == "cgroup" and controllers and os.access(place, os.W_OK):
            found[",".join(controllers)] = Path(place)
    return found


def _remove(group: Path) -> None:
    """Remove a control group and all below it, as soon as the kernel has buried its processes."""
    for path in [*sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True), group]:
        until(partial(_removed, path))


def _removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()

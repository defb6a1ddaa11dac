"""squeeze with a real libvirt and real QEMU domains: what the kernel's control groups have in the end."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.scale.farm import Farm, scaler
from tests.unit.scale.test_squeeze import THIEF, keeper, vm
from vafnebula import errors
from vafnebula.scale import virsh
from vafnebula.scale.policy import SqueezeSection

# libvirtd with a /run, configuration and control groups of its own.  $1: where it says that it is ready; then, of each
# hierarchy of control groups, its controllers.
START = r"""
mount --make-rprivate /
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
# sshd runs what it is given in a shell of the node, and so does this; $PID is the node's first process.
SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift 2
exec nsenter -t PID -m -n -p sh -c "$*"
"""
DOMAIN = """
<domain type='qemu'>
  <name>one-{number}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><cputune><shares>{shares}</shares></cputune>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='virtio'/></devices>
</domain>
"""


def hierarchies() -> dict[str, Path]:
    """Where this machine's version 1 control groups for CPU are mounted, by their controllers."""
    found = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        controllers = [o for o in options.split(",") if o in ("cpu", "cpuacct")]
        if kind == "cgroup" and controllers and os.access(place, os.W_OK):
            found[",".join(controllers)] = Path(place)
    return found


@dataclass(frozen=True)
class Node:
    """A hypervisor with three paused domains: one-1 with 1024 shares, one-2 with 2048, one-9 with 1024."""

    pid: int
    groups: Path

    def virsh(self, *words: str, xml: str = "") -> str:
        command = ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "virsh", "--quiet", *words]
        done = subprocess.run(command, input=xml, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shares(self, number: int) -> int:
        """The kernel's word."""
        [file] = self.groups.glob(f"machine/*-one-{number}.libvirt-qemu/cpu.shares")
        return int(file.read_text())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    mounted = hierarchies()
    if not any("cpu" in controllers.split(",") for controllers in mounted):
        pytest.skip(
            "no writable version 1 control group for CPU here, of which a libvirt without systemd could be given one"
        )
    ready = tmp_path_factory.mktemp("libvirt") / "ready"
    own = {controllers: place / f"vaf-{os.getpid()}" for controllers, place in mounted.items()}
    for group in own.values():
        for old in group.parent.glob("vaf-*"):  # of a test run that was killed
            if not Path(f"/proc/{old.name[4:]}").exists():
                gone(old)
        group.mkdir()
    enter = "".join(f"echo $$ >{group}/cgroup.procs; " for group in own.values())
    unshare = "unshare -C -m -n -p -f --kill-child=KILL --mount-proc sh -euc"
    keeper = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "sh", "-euc", f'{enter}exec {unshare} "$@"', "sh", START, "sh", ready, *own],
        stdin=subprocess.DEVNULL,
    )
    try:
        while not ready.exists():
            assert keeper.poll() is None, "libvirtd did not start"
            time.sleep(0.05)
        init = int(Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()[0])
        made = Node(init, next(group for controllers, group in own.items() if "cpu" in controllers.split(",")))
        for number, shares in ((1, 1024), (2, 2048), (9, 1024)):
            made.virsh("create", "--paused", "/dev/stdin", xml=DOMAIN.format(number=number, shares=shares))
        yield made
    finally:
        keeper.kill()
        keeper.wait()
        for group in own.values():
            gone(group)


def gone(group: Path) -> None:
    """Remove a control group and all below it, as soon as the kernel has buried its processes."""
    end = time.monotonic() + 60
    for path in [*sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True), group]:
        while path.exists():
            try:
                path.rmdir()
            except OSError:
                assert time.monotonic() < end, f"{path} is still in use"
                time.sleep(0.05)


@pytest.fixture(autouse=True)
def through_ssh(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.replace("PID", str(node.pid)))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")


def test_batch_gives_and_gets_back(node: Node, tmp_path: Path) -> None:
    made = scaler(Farm(), tmp_path / "state")
    one, batch = keeper(made, SqueezeSection(pools=("batch",), cpu=0.1, memory=0.5)), [vm(1), vm(2, cpu=2.0)]
    one.step([*batch, vm(9, **THIEF)])
    assert [node.shares(n) for n in (1, 2, 9)] == [103, 205, 1024]
    assert {(held.shares, held.memory) for held in made.state.squeezed.values()} == {(1024, 65536), (2048, 65536)}
    one.step(batch)
    assert [node.shares(n) for n in (1, 2, 9)] == [1024, 2048, 1024]
    assert made.state.squeezed == {}
    made.journal.close()


def test_what_nobody_remembers_is_given_back(node: Node, tmp_path: Path) -> None:
    """The monitor sees what another front-end's scaler left."""
    virsh.tune("node1", "one-1", 103, 0)
    made = scaler(Farm(), tmp_path / "state")
    keeper(made).look([vm(1), vm(2, cpu=2.0)])
    assert [node.shares(n) for n in (1, 2)] == [1024, 2048]
    made.journal.close()


def test_the_monitor_reads_all_that_are_there(node: Node) -> None:
    found = sorted(virsh.usage("node1", ["one-1", "one-10", "one-2", "one-77"]), key=lambda u: u.domain)
    assert [(u.domain, u.shares, u.memory, u.cap) for u in found] == [
        ("one-1", 1024, 65536, 0),
        ("one-2", 2048, 65536, 0),
    ]
    assert all(u.cpu > 0 for u in found)


def test_a_cap_is_seen(node: Node) -> None:
    node.virsh("schedinfo", "one-9", "--live", "--set", "vcpu_quota=50000")
    [found] = virsh.usage("node1", ["one-9"])
    assert found.cap == 0.5


def test_a_domain_that_is_not_there(node: Node) -> None:
    with pytest.raises(errors.CommandFailed) as caught:
        virsh.tuned("node1", "one-77")
    assert re.search(r"virsh on node1 .*one-77", str(caught.value))

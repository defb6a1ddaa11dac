"""templates/slurm, run: a head and two workers get their context as OpenNebula writes it, the workers join a real
slurmctld through a real sshd, and a job runs on them.  And whoever should not join does not.
"""

from __future__ import annotations

import base64
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.onegate import FakeVm, OneGate
from tests.lab.machines import Machine, Machines, loop_device, until
from vafnebula.context import guest, start
from vafnebula.context.build import build
from vafnebula.context.load import load

AGENT = Path(__file__).parents[1] / "fakes/one-context"
HEAD, W1, W2, ROGUE = "172.16.1.10", "172.16.1.11", "172.16.1.12", "172.16.2.13"


@dataclass
class World:
    machines: Machines
    gate: OneGate
    definition: Path

    def __getattr__(self, name: str) -> Machine:
        return self.machines.machines[name]

    def contextualise(self, machine: Machine, role: str, vm: int) -> None:
        """What OpenNebula and the guest agent do at boot."""
        given = {"VMID": str(vm), "ETH0_IP": machine.address, "ONEGATE_ENDPOINT": self.gate.url}
        variables = guest.context(build(load(self.definition), role).template, given)
        machine.write("/mnt/cd/context.sh", guest.context_sh(variables))
        machine.write("/mnt/cd/token.txt", self.gate.vms[vm].token)
        machine.write("/mnt/agent", AGENT.read_bytes(), "0755")
        machine.run("/mnt/agent", "/mnt/cd")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("slurm")
    start.init("slurm", directory / "definition")
    definition = directory / "definition/cluster.yaml"
    with contextlib.ExitStack() as stack:
        disk = {
            name: stack.enter_context(loop_device(directory / name, size, *mkfs))
            for name, size, mkfs in (
                ("swap1", "64M", ("mkswap", "-L", "swap-1")),
                ("swap2", "64M", ("mkswap", "-L", "swap-1")),
                ("scratch1", "320M", ("mkfs.xfs", "-q")),
                ("scratch2", "320M", ("mkfs.xfs", "-q")),
                ("software", "16M", ("mkfs.ext4", "-q")),
            )
        }
        software = f"ext4 {disk['software']}"  # this kernel may have no NFS; the way to mount it is the same
        definition.write_text(definition.read_text().replace("nfs4 head:/srv/software", software))
        machines = stack.enter_context(Machines(directory, "172.16.1.1"))
        with machines.inside():
            vms = [
                FakeVm(40, "head", HEAD, "t-40"),
                FakeVm(41, "worker", W1, "t-41"),
                FakeVm(42, "worker", W2, "t-42"),
                FakeVm(43, "worker", ROGUE, "t-43"),
            ]
            gate = stack.enter_context(OneGate(vms, "172.16.1.1"))
        for name, address in (("head", HEAD), ("w1", W1), ("w2", W2), ("rogue", ROGUE)):
            machine = machines.boot(name, address)
            machine.run("ip", "route", "add", "default", "via", "172.16.1.1")
        made = World(machines, gate, definition)
        stack.callback(swapoff, disk["swap1"], disk["swap2"])
        for name, number in (("w1", "1"), ("w2", "2")):
            plug(made.machines.machines[name], disk[f"swap{number}"], disk[f"scratch{number}"], disk["software"])
        made.head.sh("ssh-keygen -A; /usr/sbin/sshd")
        for machine in (made.head, made.w1):  # as Debian's package does: with a key of its own, running at once
            machine.sh('echo "$1 $(hostname)" >>/etc/hosts', machine.address)  # or munged waits for a name server
            machine.sh("mungekey --create --force -k /etc/munge/munge.key; chown munge: /etc/munge/munge.key")
            machine.sh("install -d -o munge /run/munge; runuser -u munge -- munged")
        made.contextualise(made.head, "head", 40)
        made.contextualise(made.w1, "worker", 41)
        made.contextualise(made.w2, "worker", 42)
        yield made


def plug(machine: Machine, swap: str, scratch: str, software: str) -> None:
    """The VM's disks, as the kernel and udev would show them."""
    for device in (swap, scratch, software):
        machine.sh('mknod -m 660 "$1" b 7 "${1#/dev/loop}"', device)
    machine.sh('ln -s "$1" /dev/disk/by-id/virtio-vafscratch', scratch)


def swapoff(*devices: str) -> None:
    for device in devices:
        subprocess.run(["swapoff", device], check=False, capture_output=True)


def asks(machine: Machine, command: str = "join slots=1 memory=100 id=" + "0" * 32, key: str = "") -> str:
    """What the head says when `machine` asks with `command`, past our own client."""
    key = key or "/var/lib/vafnebula/key"
    options = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes"
    words = f'ssh -F none -T {options} -i "$2" -l vafreg {HEAD} "$1"'
    done = machine.run("sh", "-c", words, "sh", command, key, check=False)
    return (done.stdout + done.stderr).decode()


def audit(world: World) -> list[str]:
    """What the registration program logged on the head."""
    return [line for line in world.head.log().splitlines() if " vafnebula-join[" in line]


def test_the_disks_are_used(world: World) -> None:
    for machine in (world.w1, world.w2):
        assert machine.run("stat", "-f", "-c", "%T", "/scratch").stdout == b"xfs\n"
        assert machine.run("stat", "-c", "%a", "/scratch").stdout == b"1777\n"
        assert machine.run("mountpoint", "-q", "/software", check=False).returncode == 0
    assert Path("/proc/swaps").read_text().count("/dev/loop") >= 2


def test_the_workers_have_joined_and_a_job_runs_on_them(world: World) -> None:
    until(lambda: world.head.sh("sinfo -h -o %T -n vaf-41,vaf-42").split() == ["idle"])
    out = world.head.sh("srun -N2 --ntasks-per-node=1 sh -c 'echo $SLURMD_NODENAME'")
    assert sorted(out.split()) == ["vaf-41", "vaf-42"]
    assert world.head.log().count("granted") == 2
    assert "name='vaf-41'" in world.head.log()


def test_no_secret_was_in_any_context(world: World) -> None:
    key = base64.b64encode(world.head.run("cat", "/etc/munge/munge.key").stdout)
    for machine in (world.head, world.w1, world.w2):
        context = machine.run("cat", "/mnt/cd/context.sh").stdout
        assert key not in context
        assert b"PRIVATE KEY" not in context


def test_a_script_that_runs_again_changes_nothing(world: World) -> None:
    """one-context does it when a NIC is added."""
    before = world.head.sh("pgrep -x slurmctld; pgrep -x munged; pgrep -x sshd -o")
    daemons = world.w1.sh("pgrep -x slurmd; pgrep -x munged")
    world.contextualise(world.head, "head", 40)
    world.contextualise(world.w1, "worker", 41)
    assert world.head.sh("pgrep -x slurmctld; pgrep -x munged; pgrep -x sshd -o") == before
    assert world.w1.sh("pgrep -x slurmd; pgrep -x munged") == daemons
    assert world.head.sh("sinfo -h -N -o %N").split() == ["vaf-41", "vaf-42"]


@pytest.mark.parametrize(
    "command", ["join", "scontrol shutdown", "join slots=1 memory=1 id=" + "0" * 32 + " ; id", "x" * 5000]
)
def test_bad_grammar_is_refused_and_audited(world: World, command: str) -> None:
    assert "not joined: the request is not of the form" in asks(world.w1, command)
    assert f"said={command[:40]!r}"[:-1] in audit(world)[-1]


def test_a_foreign_address_cannot_use_a_workers_key(world: World) -> None:
    """sshd itself refuses: the key is bound to its VM's address."""
    world.rogue.write("/root/stolen", world.w1.run("cat", "/var/lib/vafnebula/key").stdout, "0600")
    assert "Permission denied" in asks(world.rogue, key="/root/stolen")
    assert "correct key but not from a permitted host" in world.head.log()


def test_a_vm_of_another_network_may_not_join(world: World) -> None:
    """It is a worker of the service, with a key of its own, but its address is not one of the cluster's."""
    pair = world.rogue.sh("ssh-keygen -q -t ed25519 -N '' -f /root/own; cat /root/own.pub")
    world.gate.vms[43].user["VAF_PUBKEY"] = " ".join(pair.split()[:2])
    assert "Permission denied" in asks(world.rogue, key="/root/own")
    # and when sshd would let it through, the forced command does not
    connection = f"{ROGUE} 5000 {HEAD} 22"
    said = world.head.run(
        "runuser", "-u", "vafreg", "--", "env", f"SSH_CONNECTION={connection}",
        "SSH_ORIGINAL_COMMAND=join slots=1 memory=1 id=" + "0" * 32,
        "/usr/libexec/vafnebula/join", "register", "43", check=False,
    )  # fmt: skip
    assert b"not joined: the address is not in 172.16.1.0/24" in said.stderr
    assert "the address is not in 172.16.1.0/24" in audit(world)[-1]


def test_a_name_is_not_given_twice(world: World) -> None:
    """VM 41 publishes another key, which whoever rules its OneGate token could: the first one counts."""
    first = world.gate.vms[41].user["VAF_PUBKEY"]
    pair = world.w1.sh("ssh-keygen -q -t ed25519 -N '' -f /root/other; cat /root/other.pub")
    world.gate.vms[41].user["VAF_PUBKEY"] = " ".join(pair.split()[:2])
    try:
        assert "Permission denied" in asks(world.w1, key="/root/other")
        assert "its published key is not the first one" in world.head.log()
    finally:
        world.gate.vms[41].user["VAF_PUBKEY"] = first


def test_a_worker_that_was_removed_may_not_come_back(world: World) -> None:
    world.head.run("scontrol", "update", "nodename=vaf-42", "state=down", "reason=test")
    world.head.run("scontrol", "delete", "nodename=vaf-42")
    assert "vaf-42 was removed from the batch system" in asks(world.w2)
    assert "was removed" in audit(world)[-1]


def test_a_vm_that_comes_too_late_may_not_join(world: World) -> None:
    vm = FakeVm(44, "worker", "172.16.1.14", "t-44")
    late = world.machines.boot("late", vm.address)
    pair = late.sh("ssh-keygen -q -t ed25519 -N '' -f /root/own; cat /root/own.pub")
    vm.user["VAF_PUBKEY"] = " ".join(pair.split()[:2])
    world.gate.vms[44] = vm
    world.head.sh("sed -i 's/^window.*/window = 1/' /etc/vafnebula/join.conf")
    # The key's own end is in whole seconds: in the last of them sshd refuses it, and says nothing.
    too_late = "it was first seen more than 1 s ago"
    try:
        until(lambda: "Permission denied" in asks(late, "nonsense", key="/root/own") and too_late in world.head.log())
        assert "Permission denied" in asks(late, "nonsense", key="/root/own")
        assert too_late in audit(world)[-1]
    finally:
        world.head.sh("sed -i 's/^window.*/window = 600/' /etc/vafnebula/join.conf")


def test_level_1_a_key_of_the_image(world: World) -> None:
    """Without OneGate: all workers have the key that the site put into their image, restricted in join_keys."""
    world.head.sh("ssh-keygen -q -t ed25519 -N '' -f /root/image_key; sed -i s/onegate$/none/ /etc/vafnebula/join.conf")
    public = world.head.sh("cat /root/image_key.pub")
    line = f'restrict,from="172.16.1.0/24",command="/usr/libexec/vafnebula/join register",expiry-time="EXPIRY" {public}'
    late, host_key = world.late, world.head.sh("cat /etc/ssh/ssh_host_ed25519_key.pub").strip()
    late.write("/etc/vafnebula/join_key", world.head.run("cat", "/root/image_key").stdout, "0600")

    def ask() -> str:
        words = (
            "env",
            f"VAF_HEAD={HEAD}",
            f"VAF_HEAD_PUBLIC_KEY={host_key}",
            "/usr/libexec/vafnebula/join",
            "ask",
            "1",
            "100",
        )
        done = late.run(*words, check=False)
        return (done.stdout + done.stderr).decode()

    for name in ("join", "vafnebula"):  # the program, as the context would have brought it
        source = world.definition.parent / "common" / ("join" if name == "join" else "program/vafnebula")
        for file in [source] if source.is_file() else sorted(source.rglob("*.py")):
            below = name if source.is_file() else f"vafnebula/{file.relative_to(source)}"
            late.write(f"/usr/libexec/vafnebula/{below}", file.read_bytes(), "0755")
    world.head.write("/etc/vafnebula/join_keys", line.replace("EXPIRY", "20200101"))
    assert "Permission denied" in ask()
    world.head.write("/etc/vafnebula/join_keys", line.replace("EXPIRY", "20991231"))
    assert ask() == "vaf-172-16-1-14\n"
    assert "vaf-172-16-1-14" in world.head.sh("scontrol show node -o")
    late.sh("rm /var/lib/vafnebula/id")  # another worker that took over the address
    assert "the name vaf-172-16-1-14 is taken by another worker" in ask()
    assert "refused address=172.16.1.14 why='the name vaf-172-16-1-14 is taken" in audit(world)[-1]
    late.run("ip", "addr", "add", "172.16.2.14/16", "dev", "eth0")
    late.run("ip", "route", "add", HEAD, "dev", "eth0", "src", "172.16.2.14")
    assert "Permission denied" in ask()


def test_a_worker_without_head_powers_itself_off(world: World) -> None:
    """The switch that the start script started is there; here it runs with shorter patience."""
    deadman = "/usr/libexec/vafnebula/deadman"
    assert world.w1.sh(f"pgrep -f '^/bin/sh {deadman} 600 1800'")
    off = world.w1.shared / "poweroff"
    world.w1.run("timeout", "4", deadman, "1", "2", "1", check=False)
    assert not off.exists()  # its head is there
    world.head.sh("pkill -x slurmctld")
    world.w1.run(deadman, "1", "2", "1")
    assert off.read_text() == "off\n"
    assert "no sign of the head for 2 s: powering off" in world.w1.log()


def test_a_worker_that_cannot_join_powers_itself_off(world: World) -> None:
    world.w2.sh("rm /run/vafnebula/ready")
    world.w2.run("/usr/libexec/vafnebula/deadman", "2", "2", "1")
    assert (world.w2.shared / "poweroff").exists()
    assert "not joined within 2 s: powering off" in world.w2.log()

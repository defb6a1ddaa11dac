"""A real Slurm in namespaces of its own: slurmctld, and slurmds that come and go as VMs do.

Network and host name are private to the cluster (auth/none must not be reachable from anywhere), and every slurmd has
a PID namespace: killing it is the power cut that takes its jobs along.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tests import netns

CHECKOUT = Path(__file__).parents[2]
CONF = """\
ClusterName=vaf
SlurmctldHost=localhost(10.77.0.1)
SlurmUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={root}/state
SlurmctldPidFile={root}/ctld.pid
SlurmdPidFile={root}/%n.pid
SlurmdSpoolDir={root}/spool/%n
SlurmctldLogFile={root}/ctld.log
SlurmdLogFile={root}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=50
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
MaxNodeCount=400
TreeWidth=65533
SlurmctldParameters=cloud_reg_addrs
DebugFlags=NO_CONF_HASH
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=6
MessageTimeout=3
KillWait=1
MinJobAge=300
JobSubmitPlugins=lua
PartitionName=batch Nodes=ALL Default=YES State=UP MaxTime=INFINITE
"""
CPUS, MEMORY = 2, 100
"""Of a node; memory in MiB."""


class Cluster:
    """`with Cluster(directory) as slurm`: no node exists until `power_on`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("state", "spool", "done"):
            (root / name).mkdir()
        lua = (CHECKOUT / "share/slurm/job_submit.lua").read_text()
        (root / "job_submit.lua").write_text(lua.replace("/run/slurm/vafnebula", str(root / "submitted")))
        self.conf = root / "slurm.conf"
        self.conf.write_text(CONF.format(root=root))
        self.environment = {"PATH": os.environ["PATH"], "SLURM_CONF": str(self.conf), "LC_ALL": "C"}
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = itertools.count(1)  # nodes boot in parallel, and each needs an address of its own
        self._ctld: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cluster:
        # The host name localhost resolves everywhere; with loopback alone AI_ADDRCONFIG finds no family to bind to.
        bridge = f"ip link add br0 address {netns.BRIDGE_MAC} type bridge && ip addr add 10.77.0.1/16 dev br0"
        network = f"ip link set lo up && {bridge}"
        setup = f"hostname localhost && {network} && ip link set br0 up"
        setup += " && echo ready && exec sleep infinity"
        argv = ["unshare", "--net", "--uts", "sh", "-c", setup]
        self._holder = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.start_controller()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self.nodes):
            self.power_off(name)
        self.stop_controller()
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()

    def inside(self, *argv: str) -> list[str]:
        """`argv` as a command in the cluster's namespaces."""
        return ["nsenter", "--target", str(self._holder.pid), "--net", "--uts", "--", *argv]

    def listen(self, make: Callable[[], socket.socket]) -> socket.socket:
        """A socket that `make` makes, but in the cluster's network."""
        with netns.inside(f"/proc/{self._holder.pid}/ns/net"):
            return make()

    def start_controller(self) -> None:
        out = (self.root / "ctld.out").open("ab")
        argv = self.inside("slurmctld", "-D", "-f", str(self.conf))
        self._ctld = subprocess.Popen(argv, stdout=out, stderr=out, env=self.environment, start_new_session=True)
        out.close()
        wait(lambda: self.run("scontrol", "ping", check=False).returncode == 0, "slurmctld answers")

    def stop_controller(self) -> None:
        """As `systemctl stop` does; after SIGKILL Slurm itself forgets what it had not saved yet."""
        if self._ctld is not None:
            self._ctld.terminate()
            self._ctld.wait()
            self._ctld = None

    def power_on(self, name: str) -> None:
        """A slurmd that registers itself as a dynamic node: with an address of its own, PID 1 of a namespace.

        -Z cannot say a port, so it is the address that tells nodes apart.
        """
        (self.root / "spool" / name).mkdir()
        number = next(self._numbers)
        network = "ip link set lo up && ip link set eth0 up && ip addr add 10.77.$1/16 dev eth0"
        script = f'echo ready; read _; {network} && shift && exec slurmd -D "$@"'
        slurmd = ["-f", str(self.conf), "-N", name, "-Z", "--conf", f"CPUs={CPUS} RealMemory={MEMORY}"]
        unshare = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        argv = self.inside(*unshare, "sh", "-c", script, "sh", f"{number // 250 + 1}.{number % 250 + 1}", *slurmd)
        with (self.root / f"{name}.out").open("wb") as out:
            node = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                env=self.environment,
                start_new_session=True,
            )
        self.nodes[name] = node
        assert node.stdin is not None
        assert node.stdout is not None
        with node.stdin, node.stdout:
            try:
                assert node.stdout.readline() == b"ready\n"
                self.run("ip", "link", "add", f"v{number}", "type", "veth", "peer", "eth0", "netns", str(node.pid))
                self.run("ip", "link", "set", f"v{number}", "master", "br0", "up")
            except (AssertionError, subprocess.CalledProcessError):
                if name in self.nodes:  # else it was powered off while it booted
                    raise

    def power_off(self, name: str) -> None:
        node = self.nodes.pop(name, None)
        if node is not None:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.inside(*argv), env=self.environment, capture_output=True, text=True, timeout=60, check=check
        )

    def submit(self, *options: str, seconds: float = 1) -> str:
        """A job that writes its id (and array index) into done/ when it is through."""
        key = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
        script = f"sleep {seconds}; : >{self.root}/done/{key}"
        output = ("-o", "/dev/null", "--parsable", "-D", "/")
        return self.run("sbatch", *output, *options, "--wrap", script).stdout.strip()

    def done(self) -> set[str]:
        return {path.name for path in (self.root / "done").iterdir()}

    def running_on(self, node: str) -> list[str]:
        """Jobs on `node`; raises CalledProcessError while slurmctld is away."""
        listed = self.run("squeue", "-h", "-o", "%i", "-t", "R", "-w", node, check=False)
        return listed.stdout.split()

    def states(self) -> dict[str, str]:
        said = self.run("scontrol", "show", "node", "-o", check=False).stdout
        return dict(re.findall(r"^NodeName=(\S+) .*? State=(\S+)", said, re.MULTILINE))


def wait(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until `condition`; the limit only ends a test that would hang."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.1)

"""templates/torque and templates/htcondor, run: everything is real but the batch systems, which Debian does not have.

Their commands are programs here that record what they were asked and answer in their system's words; so are those of
CVMFS, and NFS's, which this kernel may not have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.onegate import FakeVm, OneGate
from tests.lab.machines import Machine, Machines, loop_device
from tests.lab.test_slurm_cluster import HEAD, W1, World
from vafnebula.context import start

DAEMON = """#!/bin/sh
[ "${1:-}" != stay ] || while :; do sleep 1000; done
echo "$(basename "$0") $*" >>/shared/calls
case $* in *create*) mkdir -p /var/spool/torque/server_priv; touch /var/spool/torque/server_priv/serverdb; exit ;; esac
"$0" stay </dev/null >/dev/null 2>&1 &
"""
COMMAND = """#!/bin/sh
echo "$(basename "$0") $*" >>/shared/calls
nodes=/shared/nodes
touch $nodes
"""
SOFTWARE = {
    "torque": "cvmfs alice.cern.ch,sft.cern.ch http://squid.example:3128",
    "htcondor": "nfs4 head:/srv/software",
}
PROGRAMS = {
    "torque": {
        "cvmfs_config": COMMAND,
        "pbs_server": DAEMON,
        "pbs_sched": DAEMON,
        "pbs_mom": DAEMON,
        "trqauthd": DAEMON,
        "qmgr": COMMAND
        + '[ $# -eq 0 ] && exec cat >>/shared/calls; set -- $2; [ "$1" != create ] || echo "$3" >>$nodes\n',
        "pbsnodes": COMMAND
        + 'grep -x "$1" $nodes || { echo "pbsnodes: Unknown node  MSG=cannot locate" >&2; exit 1; }\n',
        "qstat": COMMAND + 'echo "$2 0 0 0 0 0 0 0 Active"\n',
    },
    "htcondor": {
        "exportfs": COMMAND,
        "mount.nfs4": COMMAND + 'mount -t tmpfs none "$2"\n',
        "condor_master": DAEMON,
        "condor_token_create": COMMAND + 'echo "token of $2"\n',
        "condor_status": COMMAND + "case $* in *collector*) echo head ;; esac\n",
    },
}
CONDOR_CONFIG = "/etc/condor/config.d/50-vafnebula.conf"
ASK_HTCONDOR = "import htcondor2, json, sys; print(json.dumps({n: htcondor2.param.get(n) for n in sys.argv[1:]}))"
WANTED = {  # what HTCondor makes of the configuration of each
    "head": {
        "DAEMON_LIST": "MASTER COLLECTOR NEGOTIATOR SCHEDD",
        "COLLECTOR_HOST": HEAD,
        "NETWORK_HOSTNAME": "head",
        "UID_DOMAIN": "my-htcondor",
        "SEC_DEFAULT_AUTHENTICATION": "required",
        "ALLOW_ADVERTISE_STARTD": "*@my-htcondor",
        "EVENT_LOG": "/var/log/condor/EventLog",
    },
    "w1": {
        "DAEMON_LIST": "MASTER STARTD",
        "COLLECTOR_HOST": HEAD,
        "NETWORK_HOSTNAME": "vaf-41",
        "UID_DOMAIN": "my-htcondor",
        "SEC_DEFAULT_AUTHENTICATION": "required",
        "EXECUTE": "/scratch/condor",
        "SLOT_TYPE_1_PARTITIONABLE": "true",
        "NUM_SLOTS": "1",
    },
}
JOINED = {
    "torque": ("pbsnodes vaf-41", "qmgr -c create node vaf-41 np="),
    "htcondor": ("condor_status -startd", "condor_token_create -identity vaf-41@my-htcondor"),
}
IN_THE_GUEST = {
    "torque": {
        "/var/spool/torque/server_name": "head\n",
        "/var/spool/torque/mom_priv/config": "$pbsserver head\n",
        "/etc/hosts": f"{HEAD} head\n",
    },
    "htcondor": {
        "/etc/condor/tokens.d/vafnebula": "token of vaf-41@my-htcondor\n",
        CONDOR_CONFIG: f"CONDOR_HOST = {HEAD}\nNETWORK_HOSTNAME = vaf-41\n",
    },
}


@pytest.fixture(params=sorted(PROGRAMS), scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    kind: str = request.param
    directory = tmp_path_factory.mktemp(kind)
    start.init(kind, directory / "definition")
    definition = directory / "definition/cluster.yaml"
    definition.write_text(definition.read_text().replace("nfs4 head:/srv/software", SOFTWARE[kind]))
    vms = [FakeVm(40, "head", HEAD, "t-40"), FakeVm(41, "worker", W1, "t-41")]
    with (
        loop_device(directory / "scratch", "320M", "mkfs.xfs", "-q") as scratch,
        Machines(directory, "172.16.1.1") as all_,
    ):
        with all_.inside():
            gate = OneGate(vms, "172.16.1.1")
        with gate:
            world = World(all_, gate, definition)
            for name, address in (("head", HEAD), ("w1", W1)):
                equip(all_.boot(name, address), kind)
            world.w1.sh('mknod "$1" b 7 "${1#/dev/loop}"; ln -s "$1" /dev/disk/by-id/virtio-vafscratch', scratch)
            world.head.sh("ssh-keygen -A; /usr/sbin/sshd")
            for _ in range(2):  # again, as when a NIC is added
                world.contextualise(world.head, "head", 40)
                world.contextualise(world.w1, "worker", 41)
            yield kind, world


def equip(machine: Machine, kind: str) -> None:
    machine.sh("useradd --system condor")
    for name, text in PROGRAMS[kind].items():
        place = "/usr/sbin" if name.startswith("mount.") else "/usr/local/bin"
        machine.write(f"{place}/{name}", text, "0755")


def calls(machine: Machine) -> str:
    return Path(machine.shared / "calls").read_text()


def test_the_worker_joins(cluster: tuple[str, World]) -> None:
    kind, world = cluster
    for call in JOINED[kind]:
        assert call in calls(world.head)
    assert world.w1.sh("hostname") == "vaf-41\n"
    assert world.w1.sh("test -e /run/vafnebula/ready; cat /etc/hosts").count("vaf-41") == 1
    assert "172.16.1.11 vaf-41" in world.head.sh("cat /etc/hosts")


def test_the_worker_has_what_the_head_gave(cluster: tuple[str, World]) -> None:
    kind, world = cluster
    for path, text in IN_THE_GUEST[kind].items():
        assert text in world.w1.run("cat", path).stdout.decode()


@pytest.mark.parametrize("cluster", ["htcondor"], indirect=True)
@pytest.mark.parametrize("name", sorted(WANTED))
def test_htcondors_own_library_reads_the_configuration(cluster: tuple[str, World], tmp_path: Path, name: str) -> None:
    _, world = cluster
    machine = world.machines.machines[name]
    file = tmp_path / "condor_config"
    file.write_bytes(b"LOG = /var/log/condor\n" + machine.run("cat", CONDOR_CONFIG).stdout)
    done = subprocess.run(
        [sys.executable, "-c", ASK_HTCONDOR, *WANTED[name]],
        env={**os.environ, "CONDOR_CONFIG": str(file)},
        check=True,
        capture_output=True,
    )
    assert done.stderr == b""
    assert json.loads(done.stdout) == WANTED[name]


def test_each_daemon_was_started_once(cluster: tuple[str, World]) -> None:
    kind, world = cluster
    for machine in (world.head, world.w1):
        started = [line for line in calls(machine).splitlines() if PROGRAMS[kind].get(line.split()[0]) is DAEMON]
        assert len(started) == len(set(started)) > 0


def test_the_switch_asks_for_the_head(cluster: tuple[str, World]) -> None:
    _, world = cluster
    world.w1.run("/usr/libexec/vafnebula/alive")
    for program in ("qstat", "condor_status"):
        world.w1.write(f"/usr/local/bin/{program}", "#!/bin/sh\nexit 1\n", "0755")
    assert world.w1.run("/usr/libexec/vafnebula/alive", check=False).returncode != 0


def test_the_software_area(cluster: tuple[str, World]) -> None:
    kind, world = cluster
    if kind == "torque":
        assert calls(world.w1).count("cvmfs_config setup\n") == 1
        text = world.w1.sh("cat /etc/cvmfs/default.local")
        assert "CVMFS_REPOSITORIES=alice.cern.ch,sft.cern.ch\nCVMFS_HTTP_PROXY='http://squid.example:3128'\n" in text
    else:
        assert (
            world.head.sh("cat /etc/exports.d/software.exports") == "/srv/software 172.16.1.0/24(ro,no_subtree_check)\n"
        )
        assert "exportfs -ra" in calls(world.head)
        assert calls(world.w1).count(f"mount.nfs4 {HEAD}:/srv/software /software") == 1

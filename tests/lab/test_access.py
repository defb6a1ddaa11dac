"""Logging in with certificates, at a real sshd: keys of the registry until their end, and certificates of an SSH CA.

One machine is server and client; alice's home directory is made by pam_mkhomedir, as the head's script arranges.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.machines import Machine, Machines, until
from vafnebula.access import keys
from vafnebula.access.registry import Entry, Registry

REPO = Path(__file__).parents[2]
CONF = """certificate = /x
key = /x
ca = /x
crl = /x
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machines(tmp_path_factory.mktemp("access"), "172.16.1.1") as machines:
        made = machines.boot("head", "172.16.1.10")
        made.sh(
            "useradd alice; useradd bob; useradd --system vafaccess; install -d -o vafaccess /var/lib/vafnebula-access"
        )
        shutil.copytree(REPO / "vafnebula", made.shared / "vafnebula")  # a machine has a /tmp of its own
        made.sh("mkdir -p /usr/lib/vafnebula; cp -r /shared/vafnebula /usr/lib/vafnebula/vafnebula")
        for name, path, mode in (
            ("share/access/vafnebula-access-keys", "/usr/libexec/vafnebula-access-keys", "0755"),
            ("share/access/sshd.conf", "/etc/ssh/sshd_config.d/60-vafnebula-access.conf", "0644"),
            ("share/access/sshd-ca.conf", "/etc/ssh/sshd_config.d/60-vafnebula-ca.conf", "0644"),
            ("templates/common/cluster.sh", "/usr/libexec/vafnebula/cluster.sh", "0644"),
        ):
            made.write(path, (REPO / name).read_bytes(), mode)
        made.write("/etc/vafnebula/access.conf", CONF)
        made.sh(
            "cd /etc/ssh; ssh-keygen -q -t ed25519 -N '' -C user-ca -f user_ca; mkdir principals; touch revoked_keys"
        )
        made.sh("ssh-keygen -q -t ed25519 -N '' -f /root/id; . /usr/libexec/vafnebula/cluster.sh; homes")
        made.sh("ssh-keygen -A; /usr/sbin/sshd")
        yield made


def login(machine: Machine, account: str, *options: str, key: str = "/root/id") -> str:
    """What `pwd` says in the account, '' when sshd refuses."""
    fixed = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes")
    words = [word for option in (*fixed, *options) for word in ("-o", option)]
    done = machine.run("ssh", "-F", "none", *words, "-i", key, "-l", account, "172.16.1.10", "pwd", check=False)
    return done.stdout.decode().strip()


def register(machine: Machine, account: str, seconds: int) -> Entry:
    """Put /root/id into the registry, as the endpoint does."""
    key = " ".join(machine.sh("cat /root/id.pub").split()[:2])
    entry = Entry(account, key, "CN=A", int(time.time()) + seconds)
    path = machine.shared / "keys"
    Registry(str(path)).register(entry, 0, 9)
    machine.sh("install -o vafaccess -m 0640 /shared/keys /var/lib/vafnebula-access/keys")
    return entry


def test_a_registered_key_opens_its_account_until_its_end(machine: Machine) -> None:
    assert login(machine, "alice") == ""
    register(machine, "alice", 3600)
    assert login(machine, "alice") == "/home/alice"  # which did not exist
    assert login(machine, "bob") == ""
    assert login(machine, "root") == ""
    register(machine, "alice", 2)
    until(lambda: login(machine, "alice") == "")


def test_sshd_enforces_the_end_by_itself(machine: Machine) -> None:
    """The same line in a file, which nobody cleans up."""
    file = machine.shared / "later"
    for seconds, home in ((3600, "/home/alice"), (-5, "")):
        entry = Entry("alice", " ".join(machine.sh("cat /root/id.pub").split()[:2]), "CN=A", int(time.time()) + seconds)
        file.unlink(missing_ok=True)
        Registry(str(file)).register(entry, 0, 9)
        (line,) = keys.lines(Registry(str(file)), "alice", 0)
        machine.sh("install -d -o alice -m 0700 /home/alice/.ssh; rm -f /var/lib/vafnebula-access/keys")
        machine.write("/home/alice/.ssh/authorized_keys", line + "\n")
        assert login(machine, "alice") == home
    machine.sh("rm /home/alice/.ssh/authorized_keys")


def test_a_registry_that_cannot_be_read_lets_nobody_in(machine: Machine) -> None:
    register(machine, "alice", 3600)
    machine.sh("chmod 0 /var/lib/vafnebula-access; chown root /var/lib/vafnebula-access")
    try:
        assert login(machine, "alice") == ""
    finally:
        machine.sh("chown vafaccess /var/lib/vafnebula-access; chmod 755 /var/lib/vafnebula-access")
    assert login(machine, "alice") == "/home/alice"
    machine.sh("rm /var/lib/vafnebula-access/keys")


def sign(machine: Machine, principal: str, *words: str, ca: str = "/etc/ssh/user_ca") -> None:
    """The command of docs/access.md."""
    fixed = ("-O", "clear", "-O", "permit-pty", "-O", "permit-port-forwarding")
    machine.run("ssh-keygen", "-q", "-s", ca, "-I", "alice@site", "-n", principal, *fixed, *words, "/root/id.pub")


@pytest.fixture
def certified(machine: Machine) -> Iterator[Machine]:
    machine.write("/etc/ssh/principals/alice", "vo-alice\n")
    yield machine
    machine.sh("rm -f /root/id-cert.pub; : >/etc/ssh/revoked_keys")


def test_a_certificate_of_the_ssh_ca(certified: Machine) -> None:
    sign(certified, "vo-alice", "-V", "+1h")
    assert login(certified, "alice") == "/home/alice"
    assert login(certified, "bob") == ""  # who has no principals
    assert login(certified, "root") == ""


@pytest.mark.parametrize(
    ("principal", "words"),
    [
        ("vo-cms", ("-V", "+1h")),
        ("alice", ("-V", "+1h")),  # the account's name is no principal of it
        ("vo-alice", ("-V", "20200101:20200102")),
        ("vo-alice", ("-V", "+1h", "-O", "source-address=10.0.0.0/8")),
    ],
)
def test_certificates_that_open_nothing(certified: Machine, principal: str, words: tuple[str, ...]) -> None:
    sign(certified, principal, *words)
    assert login(certified, "alice") == ""


def test_a_foreign_ca_and_a_revoked_key(certified: Machine) -> None:
    certified.sh("rm -f /root/ca /root/ca.pub; ssh-keygen -q -t ed25519 -N '' -f /root/ca")
    sign(certified, "vo-alice", "-V", "+1h", ca="/root/ca")
    assert login(certified, "alice") == ""
    sign(certified, "vo-alice", "-V", "+1h")
    assert login(certified, "alice") == "/home/alice"
    certified.sh("cat /root/id.pub >/etc/ssh/revoked_keys")
    assert login(certified, "alice") == ""

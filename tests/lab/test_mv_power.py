"""Power fails on one of two nodes while a VM moves between them: a whole copy is always left, and repeating ends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.test_guests import THIN, Site, content, refusal, site_of
from tests.lab.test_mv import Mover
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import Disk, Vm, move_lines
from vafnebula.units import MIB

# Between the nodes: what n1 ($1) sends to n2 ($2) stands still after the second MiB.
STALL = """
nft -f - <<END
table bridge hold {
    chain wire { type filter hook forward priority 0; ip saddr $1 ip daddr $2 quota over 2 mbytes counter drop; }
}
END
"""
STALLED = "until nft list table bridge hold | grep -q 'counter packets [1-9]'; do sleep 0.05; done"
FLOW = "nft delete table bridge hold"
# On the source: an lvremove waits before it does anything.
HOLD = """
: >/run/hold
rm /usr/sbin/lvremove
cat >/usr/sbin/lvremove <<'END'
#!/bin/sh
: >/run/held
while [ -e /run/hold ]; do sleep 0.05; done
exec /usr/sbin/lvm lvremove "$@"
END
chmod 755 /usr/sbin/lvremove
"""
HELD = "until [ -e /run/held ]; do sleep 0.05; done"
RELEASE = "ln -sf /usr/sbin/lvm /usr/sbin/lvremove; rm -f /run/hold"


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with site_of(lab) as made:
        yield made


@pytest.fixture
def mover(site: Site) -> Iterator[Mover]:
    yield Mover(site)
    site.lab.run(["sh", "-c", FLOW], user="root", check=False)  # whatever a failed test left
    if site.lab.running("n1"):
        site.lab.sh("n1", RELEASE)


def between(mover: Mover, script: str) -> None:
    """Run a script where the nodes' network is."""
    addresses = [mover.lab.run(["getent", "hosts", node]).out.decode().split()[0] for node in ("n1", "n2")]
    mover.lab.run(["sh", "-euc", script, "sh", *addresses], user="root")


def departing(mover: Mover, name: str) -> tuple[Vm, dict[str, str], list[str], list[str]]:
    """A VM on n1, on its way to n2, what its disk holds, and the lines that bring disk and directory.

    Its 6 MiB cannot be left out of a stream: n2 knows nothing of the image.
    """
    image = mover.site.image(name, content(name, 6 * MIB), persistent=True)
    vm = mover.site.vm(THIN, Disk(0, image=image))
    mover.core.deploy(vm.id)
    mover.write(vm.id, 0, 5 * MIB, b"its guest wrote this")
    before = mover.digests(vm.id)
    old = mover.core.assign(vm.id, "n2")
    disk, rest = move_lines(mover.now(vm.id), old.host, old.directory)
    return old, before, disk, rest


def is_moved(mover: Mover, vm: Vm, before: dict[str, str]) -> None:
    """It is on n2 as it was, nothing is left on n1, and it can be terminated."""
    assert mover.digests(vm.id) == before
    assert mover.left("n1", vm.id) == []
    mover.core.terminate(vm.id)
    assert mover.left("n2", vm.id) == []


def power_cycle(mover: Mover, node: str) -> None:
    """The node comes back, and its unit makes links anew from LVM's tags."""
    mover.lab.cut(node)
    mover.lab.boot(node)
    mover.lab.ssh(node, ["/var/tmp/one/tm/fs_lvm_snap/activate"])


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_while_a_disk_goes_over(mover: Mover, node: str) -> None:
    """Half of it has arrived.  The source keeps its disk, whichever of the two is cut."""
    vm, before, disk, _ = departing(mover, f"half-{node}")
    between(mover, STALL)
    moving = mover.core.begin(disk)
    between(mover, STALLED)
    power_cycle(mover, node)
    between(mover, FLOW)
    assert refusal(moving.result(600))
    mover.core.record(vm)
    assert mover.digests(vm.id) == before
    mover.core.migrate(vm.id, "n2")
    is_moved(mover, vm, before)


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_while_the_source_goes(mover: Mover, node: str) -> None:
    """All has arrived, and the source has been told to remove what it has."""
    vm, before, disk, rest = departing(mover, f"all-{node}")
    mover.core.run(disk)
    mover.lab.sh("n1", HOLD)
    moving = mover.core.begin(rest)
    mover.lab.sh("n1", HELD)
    power_cycle(mover, node)
    if node == "n2":
        mover.lab.sh("n1", RELEASE)
    assert refusal(moving.result(600))
    assert mover.digests(vm.id) == before, "what arrived is not there"
    mover.core.run(disk)
    mover.core.run(rest)
    is_moved(mover, vm, before)

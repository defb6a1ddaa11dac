"""One lab for the whole test session, booted when the first test asks for it.

lab          two nodes; system datastore 100 thin, 200 thick; GlusterFS; the checkout's drivers deployed
clean_node   n1 of that lab without volumes of ours and without VM directories
clean_lab    the same for every node, and no images in the datastores
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.residue import leftovers, processes
from vafnebula.lab import Lab, state

# A thick origin cannot go before its snapshots, so all volumes of a VG go in one command.  What a test left running
# may still hold one: copies are killed, but never LVM commands, which would leave a device suspended.
CLEAN = """
pkill -KILL -u oneadmin -x 'python3|dd|qemu-img' || :
for vg; do
    volumes=$(lvs --noheadings -o lv_full_name -S 'lv_name!=vaf-thinpool' "$vg")
    n=0
    while [ -n "$volumes" ] && ! lvremove -qq --yes --force $volumes >/dev/null; do
        n=$((n + 1))
        [ $n -lt 20 ]
        sleep 0.5
        volumes=$(lvs --noheadings -o lv_full_name -S 'lv_name!=vaf-thinpool' "$vg")
    done
    rm -rf "/var/lib/one/datastores/${vg#vg-one-}"
    install -d -o oneadmin -g oneadmin "/var/lib/one/datastores/${vg#vg-one-}"
done
find /run/lock/one -type f -delete
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("lab")


@pytest.fixture(scope="session")
def booted(request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """Boots further labs; whatever happens they are gone at the end, and nothing of them is left."""
    made: list[Lab] = []

    def boot(name: str, **options: object) -> Lab:
        lab = Lab.up(f"{name}-{os.getpid()}", progress=_tell(request), **options)  # type: ignore[arg-type]
        made.append(lab)
        return lab

    yield boot
    left = []
    for lab in made:
        before = processes(lab) if state.is_up(lab.spec.name) else set()
        lab.down()
        left += leftovers(lab.spec.name, before)
    assert left == []


@pytest.fixture(scope="session")
def lab(booted: Callable[..., Lab]) -> Lab:
    return booted("test", nodes=2, sds={100: "thin", 200: "thick"}, disk="8G")


@pytest.fixture
def clean_node(lab: Lab) -> str:
    """`n1`, powered, without volumes and VM directories."""
    return clean(lab, "n1")


@pytest.fixture
def clean_lab(lab: Lab) -> Lab:
    for node in lab.nodes:
        clean(lab, node)
    images = [str(lab.datastore(ids)) for ids in lab.spec.images]
    lab.run(["find", *images, "-mindepth", "1", "-delete"])
    return lab


def clean(lab: Lab, node: str) -> str:
    """Remove all volumes of a node's VGs but the thin pools, all VM directories and lock files; power on first."""
    if not lab.running(node):
        lab.boot(node)
    lab.sh(node, CLEAN, *(f"vg-one-{sds}" for sds in lab.spec.sds))
    return node


def _tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Show the boot's progress to whoever waits for it."""
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")

    def tell(text: str) -> None:
        if reporter is not None and capture is not None and request.config.get_verbosity() >= 0:
            with capture.global_and_fixture_disabled():
                reporter.write_line(f"lab: {text}")

    return tell

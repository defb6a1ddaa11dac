"""Random life of 8 VMs on 2 nodes, by as many front-end processes as OpenNebula starts, against a sequential model.

    VAF_ACTIONS=200 VAF_SEED=7 .venv/bin/pytest tests/lab/test_crowd.py

A VM's own actions follow each other, as OpenNebula lets them; those of different VMs do not wait for each other, and
every line of a script is started twice, as a retry of a running script does, but for one VM: 15 at once.  24 actions by
default.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from tests.lab.test_guests import THIN, Site, content, md5, site_of
from tests.lab.test_mv import Mover
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import STUBS, Disk, argv, move_lines
from vafnebula.lab.spec import FRONTEND
from vafnebula.units import MIB

ACTIONS = int(os.environ.get("VAF_ACTIONS", "24"))
SEED = int(os.environ.get("VAF_SEED", "1"))
VMS = 8
NODES = ("n1", "n2")
OTHER_NODE = {"n1": "n2", "n2": "n1"}
STEP = 4 * MIB  # an extent: what a disk has at first, and what it grows by
LARGEST = 4 * STEP


@pytest.fixture
def site(clean_lab: Lab) -> Iterator[Site]:
    with site_of(clean_lab) as made:
        yield made


@dataclass
class Model:
    """What a VM must be after its actions so far: nowhere (''), on a node, or parked; what its disk and its disk
    snapshots hold."""

    rng: random.Random
    place: str = ""
    held: bytes = b""
    snapshots: dict[int, bytes] = field(default_factory=dict)
    numbers: int = 0
    actions: list[str] = field(default_factory=list)

    def next(self) -> str:
        """The next action, one that OpenNebula would allow."""
        choices = ["write", "snapshot", "migrate", "migrate", "stop", "terminate"]
        if not self.place:
            choices = ["deploy"]
        elif self.place == FRONTEND:
            choices = ["resume", "resume", "terminate"]
        else:
            choices += ["revert", "forget"] if self.snapshots else []
            choices += ["grow"] if len(self.held) < LARGEST else []
        self.actions.append(self.rng.choice(choices))
        return self.actions[-1]


def lines(mover: Mover, vm: int, model: Model, action: str) -> list[list[str]]:
    """The script of an action, and its effect on record and model."""
    core, rng = mover.core, model.rng
    if action == "deploy":
        model.place, model.held, model.snapshots = rng.choice(NODES), content(f"crowd-{SEED}", STEP), {}
        core.assign(vm, model.place, lcm=1)
        return [argv("clone", mover.now(vm), 0)]
    if action == "migrate":
        old = core.assign(vm, OTHER_NODE[model.place])
        model.place = mover.now(vm).host
        return move_lines(mover.now(vm), old.host, old.directory)
    if action == "stop":
        script = move_lines(mover.now(vm), model.place, mover.now(vm).directory, FRONTEND)
        model.place = FRONTEND
        return script
    if action == "resume":
        model.place = rng.choice(NODES)
        old = core.assign(vm, model.place, lcm=9)
        return move_lines(mover.now(vm), FRONTEND, old.directory)
    if action == "terminate":
        gone = replace(mover.now(vm), host=model.place)
        model.place = ""
        return [argv("delete", gone, 0), argv("delete", gone)]
    if action == "snapshot":
        model.snapshots[model.numbers] = model.held
        model.numbers += 1
        return [on_disk("snap_create", mover, vm, model.numbers - 1)]
    if action == "grow":
        model.held += bytes(STEP)
        return [on_disk("resize", mover, vm, len(model.held) // MIB)]
    chosen = rng.choice(sorted(model.snapshots))
    if action == "revert":
        model.held = model.snapshots[chosen].ljust(len(model.held), b"\0")
        return [on_disk("snap_revert", mover, vm, chosen)]
    assert action == "forget"
    del model.snapshots[chosen]
    return [on_disk("snap_delete", mover, vm, chosen)]


def on_disk(verb: str, mover: Mover, vm: int, number: int) -> list[str]:
    """The call of an action that has a number between disk and VM."""
    _, place, *rest = argv("delete", mover.now(vm), 0)
    return [f"{STUBS}/{verb}", place, str(number), *rest]


def write(mover: Mover, vm: int, model: Model) -> None:
    """What a guest does."""
    text = f"VM {vm}, {len(model.actions)}".encode().ljust(4096, b".")
    offset = model.rng.randrange(len(model.held) // 4096) * 4096
    mover.write(vm, 0, offset, text)
    model.held = model.held[:offset] + text + model.held[offset + 4096 :]


def live(mover: Mover, vm: int, model: Model, actions: int, at_once: int) -> None:
    for _ in range(actions):
        action = model.next()
        if action == "write":
            write(mover, vm, model)
            continue
        for line in lines(mover, vm, model, action):
            begun = [mover.core.begin(line) for _ in range(at_once)]
            said = {(done.code, done.err) for done in (future.result(600) for future in begun)}
            assert said == {(0, "")}, f"VM {vm} after {model.actions}: {said}"


def test_a_crowd_ends_where_a_sequential_model_says(site: Site) -> None:
    mover = Mover(site)
    image = site.image("crowd", content(f"crowd-{SEED}", STEP))
    vms = [site.vm(THIN, Disk(0, image=image)).id for _ in range(VMS)]
    models = {vm: Model(random.Random(SEED * 1000 + n)) for n, vm in enumerate(vms)}
    with ThreadPoolExecutor(VMS) as pool:
        jobs = [
            pool.submit(live, mover, vm, model, ACTIONS // VMS, 1 if vm == vms[0] else 2)
            for vm, model in models.items()
        ]
        for job in jobs:
            job.result()
    for vm, model in models.items():
        where = f"VM {vm} after {model.actions}"
        for node in NODES:
            if node == model.place:
                assert mover.digests(vm) == {"disk.0": md5(model.held)}, where
                assert snapshots(mover, node, vm) == {n: md5(held) for n, held in model.snapshots.items()}, where
            else:
                assert mover.left(node, vm) == [], where
        parked = {p.partition(f"/{vm}/")[2]: p for p in mover.parked(vm)}
        if model.place == FRONTEND:
            expected = {"disk.0": model.held, **{f"disk.0.snap/{n}": held for n, held in model.snapshots.items()}}
            files = {name: path for name, path in parked.items() if not name.endswith((".snap", ".vaf"))}
            digests = {name: md5(site.lab.run(["cat", path]).out) for name, path in files.items()}
            assert digests == {name: md5(held) for name, held in expected.items()}, where
        else:
            assert parked == {}, where


# Every disk snapshot of VM $1 and the digest of what it holds.
SNAPSHOTS = """
for lv in $(lvs --noheadings -o lv_name -S "lv_name=~^lv-one-$1-0-s" vg-one-100); do
    lvchange -ay -K "vg-one-100/$lv"
    echo "${lv##*-s} $(md5sum <"/dev/vg-one-100/$lv")"
    lvchange -an "vg-one-100/$lv"
done
"""


def snapshots(mover: Mover, node: str, vm: int) -> dict[int, str]:
    rows = [line.split() for line in mover.lab.sh(node, SNAPSHOTS, str(vm)).splitlines()]
    return {int(number): digest for number, digest, _ in rows}

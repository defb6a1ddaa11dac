"""Random life of 8 VMs on 2 nodes, by as many front-end processes as OpenNebula starts, against a sequential model.

    VAF_ACTIONS=200 VAF_SEED=7 .venv/bin/pytest tests/lab/test_crowd.py

A VM's own actions follow each other, as OpenNebula lets them; those of different VMs do not wait for each other, and
every line of a script is started twice now and then, as a retry of a running script does.  24 actions by default.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.lab.test_guests import THIN, Site, content, md5, site_of
from tests.lab.test_mv import Mover
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import Disk, Image, argv, move_lines
from vafnebula.lab.spec import FRONTEND
from vafnebula.units import MIB

ACTIONS = int(os.environ.get("VAF_ACTIONS", "24"))
SEED = int(os.environ.get("VAF_SEED", "1"))
VMS = 8
NODES = ("n1", "n2")
OTHER_NODE = {"n1": "n2", "n2": "n1"}


@pytest.fixture
def site(clean_lab: Lab) -> Iterator[Site]:
    with site_of(clean_lab) as made:
        yield made


@dataclass
class Model:
    """What a VM must be after its actions so far: nowhere (''), on a node, or parked; and what its disk holds."""

    image: Image
    rng: random.Random
    place: str = ""
    held: bytes = b""
    written: int = 0
    actions: list[str] = field(default_factory=list)

    def next(self) -> str:
        """The next action, one that OpenNebula would allow."""
        if not self.place:
            choice = "deploy"
        elif self.place == FRONTEND:
            choice = self.rng.choice(["resume", "resume", "terminate"])
        else:
            choice = self.rng.choice(["write", "migrate", "migrate", "stop", "terminate"])
        self.actions.append(choice)
        return choice


def lines(mover: Mover, vm: int, model: Model, action: str) -> list[list[str]]:
    """The script of an action, and its effect on record and model."""
    core = mover.core
    if action == "deploy":
        model.place = model.rng.choice(NODES)
        core.assign(vm, model.place, lcm=1)
        model.held = content(f"crowd-{SEED}", 4 * MIB)
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
        model.place = model.rng.choice(NODES)
        old = core.assign(vm, model.place, lcm=9)
        return move_lines(mover.now(vm), FRONTEND, old.directory)
    assert action == "terminate"
    script = [argv("delete", mover.now(vm), 0), argv("delete", mover.now(vm))]
    if model.place == FRONTEND:
        script = [[w.replace(f"{mover.now(vm).host}:", f"{FRONTEND}:") for w in line] for line in script]
    model.place = ""
    return script


def live(mover: Mover, vm: int, model: Model, actions: int) -> None:
    for _ in range(actions):
        action = model.next()
        if action == "write":
            model.written += 1
            text = f"VM {vm}, {model.written}".encode().ljust(4096, b".")
            offset = model.rng.randrange(1024) * 4096
            mover.write(vm, 0, offset, text)
            model.held = model.held[:offset] + text + model.held[offset + 4096 :]
            continue
        for line in lines(mover, vm, model, action):
            begun = [mover.core.begin(line) for _ in range(2 if model.rng.random() < 0.2 else 1)]
            said = [future.result(600).err for future in begun]
            assert set(said) == {""}, f"VM {vm} after {model.actions}: {said}"


def test_a_crowd_ends_where_a_sequential_model_says(site: Site) -> None:
    mover = Mover(site)
    image = site.image("crowd", content(f"crowd-{SEED}", 4 * MIB))
    vms = [site.vm(THIN, Disk(0, image=image)).id for _ in range(VMS)]
    models = {vm: Model(image, random.Random(SEED * 1000 + n)) for n, vm in enumerate(vms)}
    with ThreadPoolExecutor(VMS) as pool:
        for job in [pool.submit(live, mover, vm, model, ACTIONS // VMS) for vm, model in models.items()]:
            job.result()
    for vm, model in models.items():
        where = f"VM {vm} after {model.actions}"
        for node in NODES:
            if node == model.place:
                assert mover.digests(vm) == {"disk.0": md5(model.held)}, where
            else:
                assert mover.left(node, vm) == [], where
        parked = mover.parked(vm)
        if model.place == FRONTEND:
            [path] = [p for p in parked if p.endswith("/disk.0")]
            assert md5(site.lab.run(["cat", path]).out) == md5(model.held), where
        else:
            assert parked == [], where

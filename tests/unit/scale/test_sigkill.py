"""Real SIGKILL, real time, real XML-RPC: a child turns the wheel and is killed wherever it happens to be."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections import Counter
from pathlib import Path

from tests.fakes.oned import SESSION
from tests.fakes.opennebula import Kind, OpenNebula
from tests.slurm.cluster import wait
from vafnebula.one.vms import Client
from vafnebula.scale import journal
from vafnebula.scale.batch import BatchView
from vafnebula.scale.cloud import Cloud
from vafnebula.scale.journal import Journal
from vafnebula.scale.loop import Scaler
from vafnebula.scale.model import DRAIN_MARK, Job, Node, Policy, Pool, Quota, Shape, Template, Timers
from vafnebula.units import GIB

ONE = Shape(1, GIB)
KILLS = 40
TIMERS = Timers(come_alive=60, job_alive=0.2, keep_alive=0.2, error_delay=0, stale_node=60)
POLICY = Policy(
    (Pool("batch", (Template("w", 5, ONE),), quota=Quota(vms=6), timers=TIMERS),), shrink=1.0, stop_again=0.5
)


class Queue:
    """A batch system in files, so that it outlives a child: as many jobs as `wanted` says, nodes where VMs run."""

    def __init__(self, root: Path, one: OpenNebula) -> None:
        self.root, self.client = root, Client(10, one.endpoint, lambda: SESSION)
        (root / "drained").mkdir(exist_ok=True)

    def want(self, jobs: int) -> None:
        fresh = self.root / f"wanted.{uuid.uuid4().hex}"
        fresh.write_text(str(jobs))
        fresh.replace(self.root / "wanted")

    def observe(self) -> BatchView:
        jobs = int((self.root / "wanted").read_text())
        drained = {p.name for p in (self.root / "drained").iterdir()}
        names = [f"vaf-{vm.id}" for vm in self.client.vms()]
        free = [n for n in names if n not in drained]
        on = dict(zip(range(jobs), free, strict=False))
        busy = set(on.values())
        queue = [
            Job(f"{n}", ONE, "running" if n in on else "waiting", hosts=(on[n],) if n in on else ())
            for n in range(jobs)
        ]
        nodes = [
            Node(
                n, ONE, Shape(0) if n in busy else ONE, "up", n in drained, DRAIN_MARK * (n in drained), int(n in busy)
            )
            for n in names
        ]
        return BatchView(tuple(queue), tuple(nodes))

    def drain(self, node: str, reason: str) -> None:
        (self.root / "drained" / node).touch()

    def undrain(self, node: str) -> None:
        (self.root / "drained" / node).unlink(missing_ok=True)

    def remove(self, node: str) -> None:
        self.undrain(node)


def child(root: Path, one: OpenNebula) -> int:
    """Fork a scaler that turns as fast as it can."""
    number = os.fork()
    if number:
        return number
    try:
        cloud = Cloud(Client(10, one.endpoint, lambda: SESSION), ["batch"])
        scaler = Scaler(POLICY, Queue(root, one), cloud, Journal(root / "state"), settle=0.3)
        while True:
            scaler.cycle()
            time.sleep(0.01)
    finally:
        os._exit(1)


def test_dozens_of_real_kills(tmp_path: Path) -> None:
    dice = random.Random(11)
    with OpenNebula({5: Kind("w", 1, 1024)}) as one:
        queue = Queue(tmp_path, one)
        for _ in range(KILLS):
            queue.want(dice.choice([0, 0, 1, 3, 5, 9]))
            calls = one.calls.total() + dice.randint(0, 20)
            victim = child(tmp_path, one)
            wait(lambda calls=calls: one.calls.total() >= calls, "it calls")  # type: ignore[misc]
            time.sleep(dice.uniform(0.0, 0.02))
            os.kill(victim, signal.SIGKILL)
            _, status = os.waitpid(victim, 0)
            assert os.WTERMSIG(status) == signal.SIGKILL, "it had died by itself"
            assert len(one.alive()) <= 6
        queue.want(3)
        last = child(tmp_path, one)
        try:
            wait(lambda: len(one.alive()) == 3, "as many VMs as jobs")
            queue.want(0)
            wait(lambda: not one.alive(), "none is left that nobody ends")
        finally:
            os.kill(last, signal.SIGKILL)
            os.waitpid(last, 0)
        made = [vm.labels["VAF_REQUEST"] for vm in one.vms.values()]
    assert len(made) > 10, "hardly anything happened: this would prove nothing"
    assert [r for r, times in Counter(made).items() if times > 1] == []
    announced = {
        a["request"]
        for record in journal.read(tmp_path / "state" / journal.CURRENT)
        if record["kind"] == "decided"
        for a in record["actions"]
        if a["verb"] == "start"
    }
    assert set(made) <= announced, "a VM that the journal does not explain"

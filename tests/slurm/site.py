"""The whole site: a real Slurm, an OpenNebula whose VMs are slurmds, and the scaler as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fakes.oned import SESSION
from tests.fakes.opennebula import Kind, Machine, OpenNebula
from tests.slurm.cluster import CPUS, MEMORY, Cluster, wait
from vafnebula.scale import journal

POLICY = """\
batch: {{system: slurm, options: {{conf: {conf}}}}}
service:
  state: {root}/scale
  socket: {root}/scale.sock
  local: {root}/api.sock
  watch: [{{kind: slurm, path: {root}/ctld.log}}]
  period: 2s
  quiet: 0.1s
  patience: 1s
  api_timeout: 3s
pools:
  batch:
    limits: {{vms: 6}}
    timers: {{come_alive: 10s, job_alive: 4s, keep_alive: 2s, error_delay: 0s, stale_node: 3s}}
    templates: [{{name: worker, template: worker, cores: {cpus}, memory: {memory}MiB}}]
tuning: {{shrink: 1.0, delays: [0s, 1s], stale_after: 10s, orphan_age: 3s, stop_again: 5s, drain_limit: 20s}}
"""


class Site:
    """`dead` VMs never join; `crimes` are jobs that ran on a VM when it was told to end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.slurm = Cluster(root)
        self.dead: set[int] = set()
        self.stillborn = 0
        self.held = self.large = ""
        self.crimes: list[tuple[int, list[str]]] = []
        self.scaler: subprocess.Popen[bytes] | None = None
        self._hands = ThreadPoolExecutor(4)
        self._deeds: list[Future[None]] = []
        (root / "one_auth").write_text(SESSION + "\n")
        self.policy = root / "scale.yaml"
        self.policy.write_text(POLICY.format(root=root, conf=self.slurm.conf, cpus=CPUS, memory=MEMORY))

    def __enter__(self) -> Site:
        self.slurm.__enter__()
        listener = self.slurm.listen(lambda: socket.create_server(("127.0.0.1", 0), backlog=64))
        kind = Kind("worker", CPUS, MEMORY)
        self.one = OpenNebula({5: kind}, self._started, self._ended, listener)
        self.one.__enter__()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._hands.shutdown(cancel_futures=True)
        self.one.__exit__(kind, value, trace)
        self.slurm.__exit__(kind, value, trace)
        for deed in self._deeds:
            if not deed.cancelled():
                deed.result()

    def start(self) -> None:
        """The scaler, in the cluster's network."""
        environment = {
            **self.slurm.environment,
            "ONE_XMLRPC": self.one.url,
            "ONE_AUTH": str(self.root / "one_auth"),
            "PATH": os.environ["PATH"],
        }
        argv = [
            sys.executable,
            "-c",
            "from vafnebula.cli import main; main()",
            "scale",
            "run",
            "--policy",
            str(self.policy),
        ]
        out = (self.root / "scale.out").open("ab")
        self.scaler = subprocess.Popen(
            self.slurm.inside(*argv), env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        out.close()

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        assert self.scaler is not None
        assert self.scaler.poll() is None, (self.root / "scale.out").read_text()
        self.scaler.kill()
        self.scaler.wait()

    def stop(self) -> None:
        if self.scaler is not None and self.scaler.poll() is None:
            self.scaler.send_signal(signal.SIGTERM)
            self.scaler.wait(30)

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [dict(r) for r in journal.read(self.root / "scale" / journal.CURRENT) if r["kind"] == kind]

    def planned(self, verb: str) -> list[dict[str, Any]]:
        """All actions of `verb` that the journal announced."""
        return [a for r in self.records("decided") for a in r["actions"] if a["verb"] == verb]

    def cycles(self) -> int:
        return self.one.calls["vmpool.infoextended"]

    def after_cycles(self, count: int) -> None:
        """Let the scaler look `count` times."""
        before = self.cycles()
        wait(lambda: self.cycles() >= before + count, f"{count} cycles")

    def where(self, job: str) -> str:
        """The node on which `job` runs, or ''."""
        return next((n for n in list(self.slurm.nodes) if job in self.slurm.running_on(n)), "")

    def empty(self) -> bool:
        return not self.one.alive() and not self.slurm.states()

    def _started(self, vm: Machine) -> None:
        if self.stillborn:
            self.stillborn -= 1
            self.dead.add(vm.id)
            return
        self._deeds.append(self._hands.submit(self.slurm.power_on, f"vaf-{vm.id}"))

    def _ended(self, vm: Machine) -> None:
        name = f"vaf-{vm.id}"
        running = self.slurm.running_on(name) if name in self.slurm.nodes else []
        if running and vm.id not in self.dead:
            self.crimes.append((vm.id, running))
        self._deeds.append(self._hands.submit(self.slurm.power_off, name))

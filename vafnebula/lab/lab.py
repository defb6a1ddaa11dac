"""The object that tests, the demo and the benchmark hold: see the package's docstring."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from vafnebula import errors
from vafnebula.lab import (
    accounts,
    deploy,
    enter,
    faults,
    frontend,
    gluster,
    identity,
    machine,
    packages,
    qemu,
    rootfs,
    seed,
    state,
    supervisor,
)
from vafnebula.lab.errors import LabError
from vafnebula.lab.spec import GID, UID, Spec, size
from vafnebula.lab.state import Record
from vafnebula.process import Completed

READY = {"uml": 120.0, "qemu": 300.0}  # seconds until a node is ready; generous: tests share the machine
COMMAND = 60.0  # seconds that a command may take unless said otherwise

_numbers = itertools.count(1)  # for labs that their maker did not name


def silent(_text: str) -> None:
    """Report no progress."""


class Lab:
    """A lab that is up."""

    def __init__(self, record: Record, keeper: subprocess.Popen[bytes] | None = None) -> None:
        self.record = record
        self._keeper = keeper

    # ---- life

    @classmethod
    def up(
        cls,
        name: str | None = None,
        *,
        nodes: int = 2,
        mode: str = "thin",
        sds: int | Mapping[int, str] = 100,
        disk: str | int = "8G",
        mem: int = 512,
        backend: str = "uml",
        udev: bool = False,
        gluster: bool = True,
        faults: bool = False,
        images: Sequence[int] = (1, 101),
        deployed: bool = True,
        progress: Callable[[str], None] = silent,
    ) -> Lab:
        """Build a lab, boot its nodes and wait until all is ready.

        `sds` is one system datastore's id, whose VG is made for `mode`, or a mapping from id to mode.  With
        `deployed` the checkout's drivers are installed on the front-end and synced to the nodes.  `progress` gets
        a line for a person at every step.  Raises BadSpec, or LabError when something fails; nothing is left then.
        """
        spec = Spec(
            name=name or f"of-{os.getpid()}-{next(_numbers)}",
            nodes=nodes,
            backend=backend,
            udev=udev,
            disk=size(disk),
            mem=mem,
            sds={sds: mode} if isinstance(sds, int) else sds,
            images=tuple(images),
            gluster=gluster,
            faults=faults,
        )
        packages.require(backend=spec.backend, udev=spec.udev, gluster=spec.gluster)
        if spec.backend == "qemu":
            progress("kernel: fetching it, unless it is here already")
            qemu.fetch()
        lab = cls._start(spec)
        try:
            lab._build(progress)
            if deployed:
                progress("drivers: installing on the front-end and syncing to the nodes")
                lab.deploy()
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def attach(cls, name: str = "default") -> Lab:
        """The lab `name` that another process made.  Raises NoLab."""
        return cls(state.load(name))

    @classmethod
    def _start(cls, spec: Spec) -> Lab:
        """Start the supervisor and wait until the lab's root stands."""
        if os.geteuid() != 0:
            raise LabError(what="cannot be built", why="it needs namespaces and taps", advice="run this as root")
        lock = state.claim(spec.name)
        home = state.directory(spec.name)
        try:
            (home / "spec.json").write_text(spec.to_json())
            (home / "bricks").mkdir()
            shutil.copytree(Path(__file__).parent / "guest", home / "guest")
            for script in (home / "guest").iterdir():
                script.chmod(0o755)  # whatever the checkout's umask was
            keeper = supervisor.start(home, lock, [str(rootfs.checkout())])
        except BaseException:
            state.remove(home)
            raise
        finally:
            os.close(lock)
        try:
            record = Record(spec, keeper.pid, supervisor.ready(keeper))
            state.save(record)
        except BaseException:
            supervisor.end(keeper)
            raise
        return cls(record, keeper)

    def _build(self, progress: Callable[[str], None]) -> None:
        """Everything after the root stands.  The nodes boot while the front-end's services start."""
        spec, home, began = self.spec, state.directory(self.spec.name), time.monotonic()
        keys = identity.make(home)
        frontend.make(self.record.init, spec, keys)
        progress(f"{', '.join(spec.node_names)}: booting ({spec.backend}){', GlusterFS: starting' * spec.gluster}")
        with ThreadPoolExecutor(max_workers=spec.nodes + 1) as pool:
            try:
                jobs = [pool.submit(gluster.start, self.record)] if spec.gluster else []
                for node in spec.node_names:
                    seed.make(spec, home, node, keys, rootfs.checkout())
                    machine.boot(self.record, node)
                    jobs.append(pool.submit(self._await, node, began, progress))
                for job in jobs:
                    job.result()
            except BaseException as e:
                if isinstance(e, LabError):
                    self._keep_consoles(e)
                self.down()  # which also ends the waiting of the other jobs
                raise

    def _await(self, node: str, began: float, progress: Callable[[str], None]) -> None:
        machine.wait_ready(self.record, node, READY[self.spec.backend])
        progress(f"{node} ready after {time.monotonic() - began:.1f} s")

    def detach(self) -> None:
        """Let the lab live on when this process ends, until `down`."""
        if self._keeper and self._keeper.stdin:
            self._keeper.stdin.write(supervisor.DETACH)
            self._keeper.stdin.flush()

    def down(self) -> None:
        """Take the lab away; nothing when it is gone."""
        if self._keeper is not None:
            supervisor.end(self._keeper)
        elif state.is_up(self.spec.name):
            supervisor.end_other(self.record)
        state.sweep(self.spec.name)

    def _keep_consoles(self, error: LabError) -> None:
        """Save the nodes' consoles from the coming removal, and say in the error where they are."""
        kept = Path(tempfile.mkdtemp(prefix=f"vafnebula-lab-{self.spec.name}-"))
        for node in self.nodes:
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(state.directory(self.spec.name) / node / "console.log", kept / f"{node}.log")
        error.facts["advice"] = f"see {kept}"

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.down()

    # ---- what it is

    @property
    def spec(self) -> Spec:
        return self.record.spec

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes' names, which are also their ssh names."""
        return self.spec.node_names

    def running(self, node: str) -> bool:
        """Whether the node has power."""
        return machine.pid(self.record, node) is not None

    def console(self, node: str) -> Path:
        """The node's console log, on the host."""
        self.spec.index(node)
        return state.directory(self.spec.name) / node / "console.log"

    # ---- programs

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = "oneadmin",
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = COMMAND,
    ) -> Completed:
        """Run a program on the front-end; `env` is added to exactly the environment OpenNebula gives a driver."""
        return enter.run(
            self.record.init, list(argv), user=user, env=env or {}, timeout=timeout, input=input, check=check
        )

    def popen(
        self,
        argv: Sequence[str],
        *,
        user: str = "oneadmin",
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
    ) -> enter.Running:
        """Start a program on the front-end and go on; `stdin` as in subprocess.Popen, closed by default."""
        command = enter.argv(self.record.init, list(argv), user=user, env=env or {})
        return enter.Running(command, argv[0], stdin)

    def ssh(
        self,
        node: str,
        argv: Sequence[str],
        *,
        user: str = "oneadmin",
        input: bytes | None = None,
        check: bool = True,
        timeout: float = COMMAND,
    ) -> Completed:
        """Run a program on a node, over oneadmin's shared connection; exit code 255 means unreachable."""
        self.spec.index(node)
        command = ["ssh", "-l", user, "--", node, shlex.join(argv)]
        done = enter.run(
            self.record.init, command, user=accounts.USER, env={}, timeout=timeout, input=input, check=False
        )
        if check and done.code != 0:
            raise errors.CommandFailed(program=f"{argv[0]} on {node}", code=done.code, why=done.why)
        return Completed(tuple(argv), done.code, done.out, done.err)

    def sh(self, node: str, script: str, *arguments: str, user: str = "root", timeout: float = COMMAND) -> str:
        """Run a fixed shell `script` ($1... are `arguments`) on a node in one round trip; what it printed."""
        done = self.ssh(node, ["sh", "-euc", script, "sh", *arguments], user=user, timeout=timeout)
        return done.out.decode(errors="replace")

    # ---- files

    def outside(self, path: str | Path) -> Path:
        """Where a path of the front-end is seen from the calling process.  Absolute symbolic links mislead there."""
        return frontend.outside(self.record.init, path)

    def datastore(self, ids: int) -> Path:
        """The directory of a datastore on the front-end, and (image datastores, with GlusterFS) on the nodes."""
        return Path(accounts.HOME) / "datastores" / str(ids)

    def put(self, path: str | Path, data: bytes, *, mode: int = 0o644) -> Path:
        """Write a file of oneadmin's on the front-end.

        Without GlusterFS a file of an image datastore also goes to every node that has power.
        """
        target = self.outside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(mode)
        os.chown(target, UID, GID)
        images = [self.datastore(ids) for ids in self.spec.images]
        if not self.spec.gluster and any(Path(path).is_relative_to(d) for d in images):
            for node in self.nodes:
                if self.running(node):
                    self.ssh(node, ["dd", f"of={path}", "bs=1M", "conv=fsync", "status=none"], input=data)
        return Path(path)

    def deploy(self, conf: str | None = None) -> None:
        """Install the checkout's drivers on the front-end, with `conf` as the site file, and sync all nodes.

        By default the site file says which system datastores are thick.
        """
        if conf is None:
            thick = [ids for ids, mode in self.spec.sds.items() if mode == "thick"]
            conf = "".join(f"[storage {ids}]\nmode = thick\n" for ids in thick)
        remotes = self.outside(frontend.REMOTES)
        deploy.install(deploy.plan(rootfs.checkout(), conf), remotes, uid=UID, gid=GID)
        self.sync()

    def sync(self) -> None:
        """Copy the front-end's remotes to every node that has power, as `onehost sync -f` does."""
        data = deploy.pack(self.outside(frontend.REMOTES))
        with ThreadPoolExecutor(max_workers=len(self.nodes)) as pool:
            powered = [n for n in self.nodes if self.running(n)]
            for job in [pool.submit(self.ssh, n, ["sh", "-c", deploy.UNPACK], input=data) for n in powered]:
                job.result()

    # ---- trouble

    def cut(self, node: str) -> None:
        """Power cut: SIGKILL to the machine.  What the guest had not flushed is lost; the front-end is not told."""
        machine.cut(self.record, node)

    def boot(self, node: str, *, wait: bool = True) -> None:
        """Power on, with the same disks, and wait until the node is ready."""
        self.spec.index(node)
        machine.boot(self.record, node)
        if wait:
            machine.wait_ready(self.record, node, READY[self.spec.backend])
            self.forget(node)

    def forget(self, node: str) -> None:
        """End the shared connections to a node, which a power cut leaves dead."""
        for user in (accounts.USER, "root"):
            self.run(["ssh", "-O", "exit", "-l", user, "--", node], check=False, timeout=COMMAND)

    def fault(self, node: str, kind: str) -> None:
        """Make a node's data disks `flaky`, slow (`delay`), failing (`error`) or good again (`none`)."""
        self.spec.index(node)
        faults.switch(self.spec, kind, lambda argv: self.ssh(node, argv, user="root"))

"""OpenNebula's part in a lab: VM records, and driver calls as its daemon makes them.

    with OpenNebula(lab) as one:
        image = Image(datastore=1, source=str(path), size=256 * MIB)
        one.record(Vm(7, host="n1", sds=100, disks=(Disk(0, image=image),)))
        done = one.act("clone", 7, 0)             # Done(code, seconds, out, err)
        one.run(["ssh", "n1", "true"])            # any program on the front-end, timed in the same way

argv, environment, user and directory of a call are those that a running OpenNebula 7.4 was seen to use; a call is timed
on the front-end, from fork to exit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any
from xml.sax.saxutils import escape

from vafnebula import errors, units
from vafnebula.lab import enter, rootfs
from vafnebula.lab.lab import Lab
from vafnebula.lab.spec import FRONTEND

STUBS = "/var/lib/one/remotes/tm/fs_lvm_snap"
ROOT = "/var/lib/one//datastores"  # the double slash is OpenNebula's own
PATIENCE = 600.0  # seconds for a call


class ActionFailed(errors.HostError):
    """A driver's action failed; what it said is all there is to say."""

    sentence = "{line}"


@dataclass(frozen=True)
class Image:
    """A registered image: `source` as OpenNebula writes it, `size` in bytes."""

    datastore: int
    source: str
    size: int
    persistent: bool = False


@dataclass(frozen=True)
class Disk:
    """A disk of a VM: of an image, or volatile (`kind` fs or swap, `filesystem` '' for raw).  `size` in bytes."""

    id: int
    image: Image | None = None
    kind: str = "fs"
    size: int = 0
    filesystem: str = ""

    @property
    def mib(self) -> int:
        return -(-(self.size or (self.image.size if self.image else 0)) // units.MIB)


@dataclass(frozen=True)
class Vm:
    """A VM on `host`, its disks in system datastore `sds`.

    `before` are the (host, system datastore) of its earlier history records; `lcm` is LCM_STATE, 1 for PROLOG.
    """

    id: int
    host: str
    sds: int
    disks: tuple[Disk, ...]
    before: tuple[tuple[str, int], ...] = ()
    lcm: int = 1

    @property
    def directory(self) -> str:
        return f"{ROOT}/{self.sds}/{self.id}"

    def disk(self, number: int) -> Disk:
        return next(d for d in self.disks if d.id == number)


@dataclass(frozen=True)
class Done:
    """A call that ended; `seconds` from fork to exit."""

    argv: tuple[str, ...]
    code: int
    seconds: float
    out: str
    err: str


class OpenNebula:
    """The stand-in for OpenNebula's core, running in a lab."""

    def __init__(self, lab: Lab) -> None:
        self.vms: dict[int, Vm] = {}
        self._waiting: dict[int, Future[Done]] = {}
        self._argvs: dict[int, tuple[str, ...]] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._listener: threading.Thread | None = None
        server = rootfs.checkout() / "vafnebula/lab/oned.py"
        command = [str(Path(sys.executable)), "-I", "-S", str(server)]
        self._core = subprocess.Popen(
            enter.argv(lab.record.init, command, user="oneadmin", env={}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._core.stdout is not None
        if not self._core.stdout.readline():
            self.close()
            raise errors.CommandFailed(program="oned.py", code=self._core.returncode, why="it did not start")
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> OpenNebula:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the stand-in; programs that still run die with it."""
        if self._core.stdin is not None:
            self._core.stdin.close()
        self._core.wait(PATIENCE)
        if self._listener is not None:
            self._listener.join(PATIENCE)
        if self._core.stdout is not None:
            self._core.stdout.close()

    # ---- what OpenNebula knows

    def record(self, vm: Vm) -> None:
        """The VM's record is `vm` from now on."""
        self.vms[vm.id] = vm
        self._tell({"vm": vm.id, "xml": vm_xml(vm)})

    def pool(self, method: str, xml: str) -> None:
        """What a call as `one.hostpool.info` says from now on."""
        self._tell({"pool": method, "xml": xml})

    def document(self, method: str, number: int, xml: str) -> None:
        """What `one.image.info` or `one.datastore.info` answers about an object from now on."""
        self._tell({"method": method, "number": number, "xml": xml})

    # ---- what OpenNebula does

    def act(self, verb: str, vm: int, disk: int = -1) -> Done:
        """Call a driver action and wait.  Raises ActionFailed."""
        return checked(self.start(verb, vm, disk).result(PATIENCE))

    def start(self, verb: str, vm: int, disk: int = -1) -> Future[Done]:
        """Call a driver action and go on."""
        return self.begin(argv(verb, self.vms[vm], disk))

    def run(self, command: Sequence[str]) -> Done:
        """Run a program on the front-end as oned would, and wait.  Raises ActionFailed."""
        return checked(self.begin(command).result(PATIENCE))

    def begin(self, command: Sequence[str]) -> Future[Done]:
        """Start a program on the front-end as oned would, and go on."""
        with self._lock:
            self._count += 1
            number = self._count
            self._waiting[number] = Future()
            self._argvs[number] = tuple(command)
        self._tell({"run": number, "argv": list(command)})
        return self._waiting[number]

    def deploy(self, vm: int) -> None:
        """PROLOG, as OpenNebula does it: a line per disk.  Raises ActionFailed."""
        for disk in self.vms[vm].disks:
            verb = "mkswap" if disk.kind == "swap" else "mkimage"
            if disk.image is not None:
                verb = "ln" if disk.image.persistent else "clone"
            self.act(verb, vm, disk.id)

    def assign(self, vm: int, host: str, sds: int | None = None, lcm: int = 8) -> Vm:
        """The scheduler sends the VM to `host`: a new history record, before any line of the script; the VM before."""
        old = self.vms[vm]
        before = (*old.before, (old.host, old.sds))
        self.record(replace(old, host=host, sds=old.sds if sds is None else sds, before=before, lcm=lcm))
        return old

    def migrate(self, vm: int, host: str, sds: int | None = None) -> float:
        """A cold migration: seconds of all lines of the script.  Raises ActionFailed."""
        old = self.assign(vm, host, sds)
        return self.moved(old.host, old.directory, vm)

    def stop(self, vm: int) -> None:
        """Stop or undeploy: all lines of the script.  Raises ActionFailed."""
        now = self.vms[vm]
        for command in move_lines(now, now.host, now.directory, FRONTEND):
            self.run(command)

    def resume(self, vm: int, host: str, sds: int | None = None) -> None:
        """Resume from the front-end: all lines of the script.  Raises ActionFailed."""
        old = self.assign(vm, host, sds, lcm=9)
        self.moved(FRONTEND, old.directory, vm)

    def moved(self, host: str, directory: str, vm: int) -> float:
        """Seconds of all lines that bring the VM from there to its host.  Raises ActionFailed."""
        return sum(self.run(command).seconds for command in move_lines(self.vms[vm], host, directory))

    def terminate(self, vm: int, host: str = "") -> None:
        """EPILOG, on `host` if it is not the VM's own: a line per disk, then the directory.  Raises ActionFailed."""
        now = replace(self.vms[vm], host=host or self.vms[vm].host)
        for disk in now.disks:
            saved = disk.image is not None and disk.image.persistent
            self.run(argv("mvds" if saved else "delete", now, disk.id))
        self.run(argv("delete", now))

    def _tell(self, order: dict[str, Any]) -> None:
        assert self._core.stdin is not None
        with self._lock:
            self._core.stdin.write(json.dumps(order).encode() + b"\n")
            self._core.stdin.flush()

    def _listen(self) -> None:
        assert self._core.stdout is not None
        for line in self._core.stdout:
            told = json.loads(line)
            number = told.pop("run")
            with self._lock:
                future = self._waiting.pop(number)
                command = self._argvs.pop(number)
            future.set_result(Done(command, told["code"], told["seconds"], told["out"], told["err"]))
        for future in self._waiting.values():
            future.set_exception(errors.CommandFailed(program="oned.py", code=1, why="it ended"))


def checked(done: Done) -> Done:
    """`done`, unless it failed.  Raises ActionFailed with the line that the driver (or other program) wrote."""
    if done.code != 0:
        said = errors.one_line(done.err)
        raise ActionFailed(line=said or f"{done.argv[0]} failed with exit code {done.code} and said nothing")
    return done


def argv(verb: str, vm: Vm, disk: int = -1) -> list[str]:
    """The argument list that OpenNebula makes for an action on disk `disk`, or with -1 on the VM's directory."""
    stub, number = f"{STUBS}/{verb}", str(vm.id)
    if disk < 0:
        return [stub, f"{vm.host}:{vm.directory}", number, str(vm.sds)]
    what = vm.disk(disk)
    place = f"{vm.host}:{vm.directory}/disk.{disk}"
    datastore = str(what.image.datastore if what.image else vm.sds)
    if verb in ("clone", "ln"):
        assert what.image is not None
        return [stub, f"{FRONTEND}:{what.image.source}", place, number, datastore]
    if verb == "mvds":
        assert what.image is not None
        return [stub, place, what.image.source, number, datastore]
    if verb == "mkswap":
        return [stub, str(what.mib), place, number, datastore]
    if verb == "mkimage":
        return [stub, str(what.mib), "raw", place, number, datastore]
    return [stub, place, number, datastore]


def move_lines(vm: Vm, host: str, directory: str, to: str = "") -> list[list[str]]:
    """The lines of a transfer script that bring `vm` from `directory` on `host` to its own place, or to host `to`."""
    place, number = f"{to or vm.host}:{vm.directory}", str(vm.id)
    lines = []
    for disk in vm.disks:
        datastore = str(disk.image.datastore if disk.image else vm.sds)
        lines.append([f"{host}:{directory}/disk.{disk.id}", f"{place}/disk.{disk.id}", number, datastore])
    lines.append([f"{host}:{directory}", place, number, str(vm.sds)])
    return [[f"{STUBS}/mv", *line] for line in lines]


def vm_xml(vm: Vm) -> str:
    """The VM's record with the elements that a running OpenNebula was seen to write for such disks."""
    disks = "".join(_element("DISK", _disk(vm, d)) for d in vm.disks)
    mads = {"HID": 0, "CID": 0, "VM_MAD": "kvm", "TM_MAD": "fs_lvm_snap"}
    history = "".join(
        _element("HISTORY", {"OID": vm.id, "SEQ": seq, "HOSTNAME": host, **mads, "DS_ID": sds})
        for seq, (host, sds) in enumerate((*vm.before, (vm.host, vm.sds)))
    )
    return (
        f"<VM><ID>{vm.id}</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME>"
        f"<NAME>vm-{vm.id}</NAME><STATE>3</STATE><LCM_STATE>{vm.lcm}</LCM_STATE>"
        f"<TEMPLATE><CPU>1</CPU><MEMORY>512</MEMORY>{disks}<VMID>{vm.id}</VMID></TEMPLATE><USER_TEMPLATE/>"
        f"<HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>"
    )


def _disk(vm: Vm, disk: Disk) -> dict[str, object]:
    common = {"DISK_ID": disk.id, "SIZE": disk.mib, "FORMAT": "raw", "DRIVER": "raw", "TM_MAD": "fs_lvm_snap"}
    if disk.image is None:
        file_system = {"FS": disk.filesystem} if disk.filesystem else {}
        return {**common, "TYPE": disk.kind, "DATASTORE_ID": vm.sds, **file_system}
    return {
        **common,
        "TYPE": "FILE",
        "CLONE": "NO" if disk.image.persistent else "YES",
        "SAVE": "YES" if disk.image.persistent else "NO",
        "CLONE_TARGET": "SYSTEM",
        "LN_TARGET": "SYSTEM",
        "DATASTORE_ID": disk.image.datastore,
        "IMAGE_ID": disk.id,
        "SOURCE": disk.image.source,
        "READONLY": "NO",
    }


def _element(name: str, values: dict[str, object]) -> str:
    return f"<{name}>{''.join(f'<{k}>{escape(str(v))}</{k}>' for k, v in values.items())}</{name}>"

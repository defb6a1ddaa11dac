"""The scenario: what happens to the disks of a VM cluster, from the first VM to the last.

Every step is a call of a driver executable as OpenNebula makes it, on nodes with real LVM, ssh and sudo and images on a
real GlusterFS volume.  Every figure was measured a moment before it is shown, and so was what it is compared with.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field

from vafnebula import errors, names, units
from vafnebula.bench.onnode import deed_facts, forget, step, timed
from vafnebula.demo import images
from vafnebula.demo.screen import Screen, Step
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import PATIENCE, Disk, Image, OpenNebula, Vm, checked

SDS = 100
HEAD = 1  # the VM with all kinds of disks
ALONE = (3, 4, 5)  # VMs cloned one after the other; the median counts
CROWD = 100  # first of the VMs cloned at once
SWAP = 512 * units.MIB
SCRATCH = 3 * units.GIB
PERSISTENT = 64 * units.MIB
RESULT = "42 events of VM 1"
GUEST = 'mount "$1" /mnt; echo "$2" >"/mnt$3"; umount /mnt'
LVS = ("lvs", "-o", "lv_name,lv_size,pool_lv,origin,data_percent", "--units", "m")


@dataclass(frozen=True)
class Plan:
    """How much is played: `size` of the image in bytes, `workers` cloned at once, on all nodes
    together; the bare snapshot is the median of `repeats`."""

    size: int = 256 * units.MIB
    workers: int = 16
    repeats: int = 5
    mode: str = "thin"
    keep: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table: `seconds` for `what`, beside a `reference` that took `beside` seconds."""

    what: str
    seconds: float
    reference: str
    beside: float

    @property
    def cells(self) -> list[str]:
        return [self.what, f"{self.seconds:.2f}", f"{self.seconds / self.beside:.2f}", self.reference]


@dataclass
class Told:
    """What there is to show in the end: the table, and the first node's volumes in full swing and at the end."""

    rows: list[Row] = field(default_factory=list)
    volumes: str = ""
    left: str = ""


class Story:
    """Plays on `lab`, shows on `screen`."""

    def __init__(self, lab: Lab, one: OpenNebula, screen: Screen, plan: Plan) -> None:
        self.lab, self.one, self.screen, self.plan = lab, one, screen, plan
        self.told = Told()
        self.vg = names.vg(SDS)
        self.node, self.other = lab.nodes[0], lab.nodes[-1]
        self.bare = 0.0

    def play(self) -> Told:
        """All of it, in order.  Raises errors.Error at the first thing that goes wrong."""
        system, data = self.images()
        self.cold(system, data, self.raw_copy(system))
        self.bare = self.bare_snapshot()
        self.warm(system)
        self.crowd(system)
        self.volatile()
        self.persistent(data)
        self.delete()
        return self.told

    # ---- before the first VM

    def images(self) -> tuple[Image, Image]:
        with self.screen.step("Two images on the GlusterFS datastore") as step:
            system, used = images.system(self.lab, self.plan.size)
            data, _ = images.data(self.lab, PERSISTENT)
            sizes = [units.human(n) for n in (system.size, used, data.size)]
            step.done(f"a system of {sizes[0]} ({sizes[1]} of it data), a persistent disk of {sizes[2]}")
        return system, data

    def raw_copy(self, image: Image) -> float:
        """Seconds of one raw `dd` of the whole image into an empty volume."""
        thin = self.plan.mode == "thin"
        kind = ["-V", f"{image.size}b", "-T"] if thin else ["-Zn", "-L", f"{image.size}b"]
        place = f"{self.vg}/{names.THIN_POOL}" if thin else self.vg
        copy = [f"if={image.source}", f"of={names.device(self.vg, 'reference')}", "bs=1M", "iflag=direct"]
        with self.screen.step(
            f"For comparison: a raw dd of the system image into an empty volume of {self.node}"
        ) as shown:
            forget(self.lab, self.node, image.source)
            _, copied, _ = timed(
                self.lab,
                self.node,
                [
                    step("lvcreate", "-qq", "--yes", "-Wn", "-n", "reference", *kind, place),
                    step("dd", *copy, "oflag=direct", "conv=fsync"),
                    step("lvremove", "-qq", "--yes", f"{self.vg}/reference"),
                ],
                user="root",
            )
            shown.done(f"{copied.seconds:.2f} s")
        return copied.seconds

    def bare_snapshot(self) -> float:
        """Median seconds of a bare `ssh NODE sudo lvcreate -s` of the cached image, over the shared connection."""
        key = deed_facts(self.lab, self.node, "clone", HEAD, 0)["origin"]
        size = [] if self.plan.mode == "thin" else ["-l", "100%ORIGIN"]
        ssh = ["ssh", "--", self.node, "sudo", "-n"]
        with self.screen.step("For comparison: a bare `ssh node sudo lvcreate -s`") as shown:
            took = []
            for n in range(self.plan.repeats):
                shown.count(n, self.plan.repeats)
                create = ["lvcreate", "-qq", "--yes", "-s", "-kn", "-ay", *size, "-n", f"reference-{n}"]
                took.append(self.one.run([*ssh, *create, f"{self.vg}/{names.ORIGIN_PREFIX}{key}"]).seconds)
                self.one.run([*ssh, "lvremove", "-qq", "--yes", f"{self.vg}/reference-{n}"])
            shown.done(f"{statistics.median(took):.2f} s")
        return statistics.median(took)

    # ---- the VMs

    def cold(self, system: Image, data: Image, copy: float) -> None:
        """The first clone on each node, which copies the image."""
        swap = Disk(1, kind="swap", size=SWAP)
        scratch = Disk(2, kind="fs", size=SCRATCH, filesystem="xfs")
        self.one.record(Vm(HEAD, self.node, SDS, (Disk(0, system), swap, scratch, Disk(3, data))))
        with self.screen.step(
            f"VM {HEAD}, the first on {self.node}: its image is copied into the node's cache"
        ) as shown:
            forget(self.lab, self.node, system.source)
            seconds = self.one.act("clone", HEAD, 0).seconds
            shown.done(f"{seconds:.2f} s")
        self._row("first VM of an image on a node: copied, then cloned", seconds, "raw dd of the image", copy)
        if self.other != self.node:
            with self.screen.step(f"VM 2, the first on {self.other}: copied there, too, and never again"):
                self.one.record(Vm(2, self.other, SDS, (Disk(0, system),)))
                self.one.act("clone", 2, 0)

    def warm(self, system: Image) -> None:
        """A few clones one by one; the last is compared with the image, byte for byte."""
        with self.screen.step(
            f"VMs {ALONE[0]} to {ALONE[-1]}, one after the other: snapshots of the cached image"
        ) as shown:
            took = []
            for vm in ALONE:
                self.one.record(Vm(vm, self.node, SDS, (Disk(0, system),)))
                took.append(self.one.act("clone", vm, 0).seconds)
            seconds = statistics.median(took)
            deed = deed_facts(self.lab, self.node, "clone", ALONE[-1], 0)["seconds"]
            shown.done(f"{seconds:.2f} s each ({float(deed):.2f} s of it on the node)")
        self._row("every further VM: a snapshot", seconds, "ssh node sudo lvcreate -s", self.bare)
        with self.screen.step(f"Is the disk of VM {ALONE[-1]} the image, byte for byte?") as shown:
            disk = f"{self.one.vms[ALONE[-1]].directory}/disk.0"
            there = self.lab.sh(self.node, 'head -c "$1" "$2" | sha256sum', str(system.size), disk)
            here = self.lab.run(["sha256sum", system.source.replace("//", "/")]).out.decode()
            if there.split()[0] != here.split()[0]:
                raise errors.CopyFailed(source=system.source, why="the clone has another content")
            shown.done("yes")

    def crowd(self, system: Image) -> None:
        """Many clones at once, on all nodes."""
        count, nodes = self.plan.workers, self.lab.nodes
        for n in range(count):
            self.one.record(Vm(CROWD + n, nodes[n % len(nodes)], SDS, (Disk(0, system),)))
        with self.screen.step(f"{count} workers at once, on {len(nodes)} nodes") as shown:
            seconds = self._together(shown, [("clone", CROWD + n, 0) for n in range(count)])
            shown.done(f"{seconds:.2f} s until the last is there")
        self._row(f"{count} workers at once: per worker", seconds / count, "ssh node sudo lvcreate -s", self.bare)

    def volatile(self) -> None:
        """Swap and scratch, made when the VM is deployed."""
        with self.screen.step(
            f"VM {HEAD} gets {units.human(SWAP)} of swap and {units.human(SCRATCH)} of XFS scratch"
        ) as shown:
            swap = self.one.act("mkswap", HEAD, 1).seconds
            scratch = self.one.act("mkimage", HEAD, 2).seconds
            shown.done(f"{swap:.2f} and {scratch:.2f} s")
        self._row(f"swap, {units.human(SWAP)}", swap, "ssh node sudo lvcreate -s", self.bare)
        self._row(f"XFS scratch, {units.human(SCRATCH)}", scratch, "ssh node sudo lvcreate -s", self.bare)

    def persistent(self, data: Image) -> None:
        """A persistent disk: copied to the node, written by the guest, copied back."""
        with self.screen.step(f"VM {HEAD} gets the persistent disk: copied to {self.node}") as shown:
            link = self.one.act("ln", HEAD, 3).seconds
            shown.done(f"{link:.2f} s")
        with self.screen.step(f"VM {HEAD} mounts it and writes {images.RESULT}") as shown:
            device = names.device(self.vg, names.disk_volume(HEAD, 3))
            self.lab.sh(self.node, GUEST, device, RESULT, images.RESULT)
            shown.done(f"'{RESULT}'")
        self.told.volumes = self.lab.sh(self.node, 'exec "$@"', *LVS, self.vg)
        with self.screen.step("The disk is saved back to its image, compared, and its volume given up") as shown:
            save = self.one.act("mvds", HEAD, 3).seconds
            shown.done(f"{save:.2f} s")
        with self.screen.step("What does the image on the datastore say now?") as shown:
            found = images.read_result(self.lab, data).strip()
            if found != RESULT:
                raise errors.CopyFailed(source=data.source, why=f"{images.RESULT} says {found!r}")
            shown.done(f"'{found}'")
        self._row(f"persistent disk, {units.human(data.size)}: there", link, "ssh node sudo lvcreate -s", self.bare)
        self._row("persistent disk: saved back, compared", save, "ssh node sudo lvcreate -s", self.bare)

    # ---- the end

    def delete(self) -> None:
        """Every disk, then every VM's directory, as OpenNebula does it; with `keep` only the first node's crowd."""
        gone = [vm for vm in self.one.vms.values() if not self.plan.keep or (vm.id >= CROWD and vm.host == self.node)]
        disks = [
            ("delete", vm.id, disk.id) for vm in gone for disk in vm.disks if not (disk.image and disk.image.persistent)
        ]
        with self.screen.step(
            f"{len(gone)} VMs end: {len(disks)} disks and {len(gone)} directories are deleted"
        ) as shown:
            seconds = self._together(shown, disks) + self._together(shown, [("delete", vm.id, -1) for vm in gone])
            shown.done(f"{seconds:.2f} s")
        self._row("end of a VM: disks and directory gone", seconds / len(gone), "ssh node sudo lvcreate -s", self.bare)
        self.told.left = self.lab.sh(self.node, 'exec "$@"', *LVS, self.vg)

    # ---- tools

    def _together(self, shown: Step, calls: Sequence[tuple[str, int, int]]) -> float:
        """Start all calls at once and wait for all; seconds from first to last."""
        began = time.monotonic()
        futures = [self.one.start(verb, vm, disk) for verb, vm, disk in calls]
        for n, future in enumerate(as_completed(futures, PATIENCE), 1):
            checked(future.result())
            shown.count(n, len(calls))
        return time.monotonic() - began

    def _row(self, what: str, seconds: float, reference: str, beside: float) -> None:
        self.told.rows.append(Row(what, seconds, reference, beside))

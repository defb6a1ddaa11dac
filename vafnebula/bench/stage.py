"""The stage of the storage benchmark: nodes with a thin and a thick system datastore, images on GlusterFS.

All is measured on the first node; a migration goes to the second.

Seconds are seconds, sizes bytes.  What a measurement makes here it takes away again with `clear`.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from vafnebula import __version__, errors, names, ssh, units
from vafnebula.bench import content
from vafnebula.bench.onnode import Step, forget, step, timed
from vafnebula.bench.rounds import Case, alternate
from vafnebula.config import Site
from vafnebula.demo.screen import Step as Shown
from vafnebula.lab import Lab
from vafnebula.lab.opennebula import ROOT, Disk, Done, Image, OpenNebula, Vm
from vafnebula.model import Clone, DiskRef, MakeImage, Order, Reply, Settings
from vafnebula.model import Image as Source
from vafnebula.node import snapshots

SDS = {"thin": 100, "thick": 200}
MODES = tuple(SDS)
DISK = 120 * units.GIB  # of a data disk: a sparse file
DATASTORE = 1
SITE_FILE = "/var/lib/one/remotes/etc/vafnebula/vafnebula.conf"
CLEAR = """
rm -rf /var/lib/one/datastores/100/* /var/lib/one/datastores/200/*
for vg; do lvremove -qq --yes -S "$select" "$vg"; done
"""


@dataclass(frozen=True)
class Deed:
    """A deed of the node half: `seconds` on its own clock, `process` from fork to exit, both on the node."""

    seconds: float
    process: float
    facts: dict[str, object]


class Stage:
    """`rounds` of everything, with large images `share` times smaller; progress is noted where `showing` says."""

    def __init__(self, lab: Lab, one: OpenNebula, rounds: int, share: int) -> None:
        self.lab, self.one, self.rounds, self.share = lab, one, rounds, share
        self.node = lab.nodes[0]
        self._vms = itertools.count(1)
        self._shown: Shown | None = None
        self._images: dict[str, Image] = {}

    # ---- rounds

    @contextmanager
    def showing(self, shown: Shown) -> Iterator[None]:
        """Progress of the measurements in this block is noted in `shown`."""
        self._shown = shown
        yield
        self._shown = None

    def tell(self, text: str) -> None:
        if self._shown is not None:
            self._shown.note(text)

    def alternate(self, cases: dict[str, Case]) -> dict[str, list[float]]:
        return alternate(self.rounds, cases, self.tell)

    # ---- images

    def image(self, size: int, holes: int = 0) -> Image:
        """An image of `size`, `holes` percent of it hole; made once.  The brick's file is in the page cache."""
        name = f"image-{size // units.MIB}-{holes}"
        if name not in self._images:
            self.tell(f"making an image of {units.human(size)} with {holes} % holes")
            path = self.lab.put(self.lab.datastore(DATASTORE) / name, b"")
            content.write(self.lab.outside(path), size, holes)
            self._images[name] = Image(DATASTORE, f"{ROOT}/{DATASTORE}/{name}", size)
        return self._images[name]

    def renew(self, image: Image, holes: int) -> None:
        """The image file is another one from now on, with `holes` percent of it hole."""
        content.write(self.lab.outside(self.path(image)), image.size, holes)

    def path(self, image: Image) -> str:
        """The image file, on the front-end and on the node."""
        return image.source.replace("//", "/")

    # ---- our own actions

    def vm(self, mode: str, *disks: Disk, host: str = "") -> Vm:
        """A new VM of which OpenNebula knows."""
        vm = Vm(next(self._vms), host or self.node, SDS[mode], disks)
        self.one.record(vm)
        return vm

    def clone(self, mode: str, image: Image) -> Done:
        """The whole action, from the stub's start to its exit."""
        return self.one.act("clone", self.vm(mode, Disk(0, image)).id, 0)

    def begin(self, mode: str, image: Image) -> Future[Done]:
        """The same, without waiting for it."""
        return self.one.start("clone", self.vm(mode, Disk(0, image)).id, 0)

    def deed(self, mode: str, image: Image, settings: Settings | None = None) -> Deed:
        """The node half's part of a clone, started on the node as ssh starts it."""
        vm = self.vm(mode, Disk(0, image))
        ref = DiskRef(vm.id, 0, 0, vm.sds, vm.directory.replace("//", "/"))
        request = Clone(ref, Source(DATASTORE, self.path(image)), 0)
        return self.order(Order(__version__, request, settings or Settings(mode=mode)))

    def scratch_seconds(self, mode: str, size: int, filesystem: str) -> float:
        """Seconds of the node half's part of mkimage."""
        vm = self.vm(mode, Disk(0, size=size, filesystem=filesystem))
        ref = DiskRef(vm.id, 0, 0, vm.sds, vm.directory.replace("//", "/"))
        return self.order(
            Order(__version__, MakeImage(ref, size, filesystem, "scratch-0"), Settings(mode=mode))
        ).seconds

    def order(self, order: Order) -> Deed:
        """Hand an order to the node half.  Raises what it reports."""
        remote = ssh.command(self.node, Site())[-1]
        [ended] = timed(self.lab, self.node, [step("sh", "-c", remote, input=order.to_json().decode())])
        reply = Reply.from_json(ended.out.encode())
        if reply.error:
            raise errors.rebuilt(reply.error, reply.text)
        return Deed(float(reply.facts["seconds"]), ended.seconds, reply.facts)

    def configure(self, text: str) -> None:
        """The site file says `text` from now on, and that 200 is thick."""
        self.lab.put(SITE_FILE, f"{text}\n[storage {SDS['thick']}]\nmode = thick\n".encode())

    # ---- references

    def bare(self, mode: str, origin: str, size: int) -> list[str]:
        """The words of one `lvcreate -s` of an origin, with nothing of ours; it makes `reference`."""
        vg = names.vg(SDS[mode])
        room = snapshots.cow_room(size, Settings(mode=mode))
        cow = [] if mode == "thin" else ["-L", f"{room}b", "-c", f"{Settings().cow_chunk}b"]
        return ["sudo", "-n", "lvcreate", "-qq", "--yes", "-s", "-kn", "-ay", *cow, "-n", "reference", f"{vg}/{origin}"]

    def fresh(self, mode: str, size: int, name: str = "reference") -> Step:
        """The step that makes an empty volume."""
        vg = names.vg(SDS[mode])
        kind = ["-V", f"{size}b", "-T", f"{vg}/{names.THIN_POOL}"] if mode == "thin" else ["-Zn", "-L", f"{size}b", vg]
        return step("lvcreate", "-qq", "--yes", "-Wn", "-n", name, *kind)

    def into_fresh(self, mode: str, image: Image, *copy: str) -> float:
        """Seconds of the program `copy` that fills an empty volume; `{image}` and `{device}` stand for both."""
        device = names.device(names.vg(SDS[mode]), "reference")
        words = [w.replace("{image}", self.path(image)).replace("{device}", device) for w in copy]
        self.forget(image)
        seconds = timed(self.lab, self.node, [self.fresh(mode, image.size), step(*words)], user="root")[1].seconds
        self.clear()
        return seconds

    # ---- the node

    def forget(self, image: Image) -> None:
        """Nothing of the image is in the node's page cache after this."""
        forget(self.lab, self.node, self.path(image))

    def sh(self, script: str, *arguments: str, node: str = "") -> str:
        """Run a shell script as root on the node, or on another one."""
        return self.lab.sh(node or self.node, script, *arguments, timeout=1800)

    def python(self, program: str, *arguments: str, input: str = "") -> str:
        """Run a Python program as root on the node; what it printed."""
        words = step("python3", "-I", "-c", program, *arguments, input=input)
        return timed(self.lab, self.node, [words], user="root")[0].out

    def clear(self, origins: bool = False) -> None:
        """Remove everybody's disks and references at once, with `origins` the cache too."""
        keep = "lv_name!=vaf-thinpool" if origins else "lv_name!~^vaf-"
        vgs = [names.vg(sds) for sds in SDS.values()]
        for node in self.lab.nodes:
            self.sh(f"select={shlex.quote(keep)}{CLEAR}", *vgs, node=node)

    def written(self) -> int:
        """Bytes written to the node's data disks since it booted."""
        lines = self.sh("grep -E ' ubd[bc] ' /proc/diskstats").splitlines()
        return sum(int(line.split()[9]) for line in lines) * 512

    def after(self, case: Callable[[], float], *, origins: bool = False) -> Case:
        """`case`, with the stage cleared after it."""

        def run() -> float:
            value = case()
            self.clear(origins)
            return value

        return run

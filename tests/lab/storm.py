"""The crash matrix, run on a node: every deed, every step, three ways to be struck there.

Sent to a node and started there by test_storm.py; standard library and the node package only.

    python3 storm.py matrix MODE SDS [SCENARIO...]    every scenario x step x strike; prints one JSON line per strike
    python3 storm.py halt MODE SDS SCENARIO WHAT STRIKE       prepares the scenario, strikes at the first step of that
                                                              name, then prints HALT and waits to be cut off
    python3 storm.py again MODE SDS SCENARIO                  runs the scenario's order and checks the result

A step is one change of the node: an LVM command that changes something, a copy, a mkfs, the link.  `fail`: the step
fails instead of happening.  `kill`: SIGKILL just before it.  `midway`: SIGKILL while its programs run (a copy has
written half).  After a strike nothing corrupt may be published, after `fail` nothing may be left at all; and the same
order, given again, must succeed with the right content and leave no debris.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

sys.path.insert(0, "/var/tmp/one/vafnebula")

from vafnebula import __version__, errors, model, model_moves, model_points, names, units
from vafnebula.node import lvm, main
from vafnebula.node.host import Host

VM = 70
OTHER = {100: 200, 200: 100}  # the VG of the other mode, where disks come from
MOVES = ("mv", "mv-rest", "drop")
STRIKES = ("fail", "kill", "midway")
EFFECTS = (
    "lvm", "format", "copy", "zero", "publish", "unlink", "remove_tree", "write_file", "prepare_file", "finish_file",
    "rename", "make_directory", "receive", "take_file", "ask", "converse",
)  # fmt: skip
PROGRAMS = ("lvm", "copy", "format", "receive")  # the effects that can be struck midway
LOOKING = ("lvs", "vgs")
PRESENT = ("mvds", "delete", "snap", "resize", "cpds", "backup", "restore")  # scenarios of disks that are there before
ONLY = dict.fromkeys(("resize", "backup", "restore", "cpds", "mv-rest", "drop"), ("kill",))  # else: unit tests
HEALED = ("dmsetup",)  # a step whose failure the deed gets over by itself
PASSING = ("-revert", "-old", "-saveas", "-backup", "-spare")  # endings of volumes that last as long as an action


class StruckHost(Host):
    """A host that is struck at step `at` of a deed: its number from 1, its name, or the second of a name as `name#2`;
    0 only counts."""

    def __init__(self, at: int | str = 0, strike: str = "fail", halt: bool = False) -> None:
        super().__init__()
        self.at, self.strike, self.halt, self.step = at, strike, halt, 0
        self.steps: list[str] = []
        self.kinds: list[str] = []

    def struck(self, name: str, arguments: tuple) -> bool:
        if name == "lvm" and arguments[0][0] in LOOKING:
            return False
        self.step += 1
        self.steps.append(arguments[0][0] if name == "lvm" else name)
        self.kinds.append(name)
        nth = f"{self.steps[-1]}#{self.steps.count(self.steps[-1])}"
        return self.at in (self.step, nth, nth.removesuffix("#1"))

    def blow(self, name: str, arguments: tuple) -> None:
        if self.strike == "fail":
            raise errors.CommandFailed(program=name, code=1, why="struck")
        if self.strike == "midway":
            _begin(name, *arguments)
        if self.halt:
            print("HALT", flush=True)
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)


def _begin(name: str, argv: list, locks: tuple = (), *_: object) -> None:
    """Start what the step would have run, and leave it alone; of a copy, half is done before."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    if name == "receive":  # argv is the stream, locks the device
        change = next(iter(argv.changes()))
        with open(locks, "r+b") as f:
            f.seek(change.offset)
            f.write(change.data or b"")
    elif name == "copy":
        for one in argv:
            half = [f"count={max(1, int(a[6:]) // 2)}" if a.startswith("count=") else a for a in one]
            if half != one:
                subprocess.run(half, check=True, **quiet)
            subprocess.Popen(one, pass_fds=locks, start_new_session=True, **quiet)
    else:
        subprocess.Popen([*(["sudo", "-n"] if name == "lvm" else []), *argv], start_new_session=True, **quiet)


def _wrap(name: str) -> Callable:
    real = getattr(Host, name)

    def effect(self: StruckHost, *arguments: object, **options: object) -> object:
        if self.struck(name, arguments):
            self.blow(name, arguments)
        return real(self, *arguments, **options)

    return effect


for _name in EFFECTS:
    setattr(StruckHost, _name, _wrap(_name))


class Bench:
    """One VG in one mode, with images, scenarios and checks."""

    def __init__(self, mode: str, sds: int) -> None:
        self.mode, self.sds, self.vg = mode, sds, names.vg(sds)
        self.directory = f"/var/lib/one/datastores/{sds}/{VM}"
        self.images = f"/var/lib/one/vaf-storm-{sds}/1"
        self.settings = model.Settings(mode=mode, cache_min_age=0, lock_wait=60)
        os.makedirs(self.images, exist_ok=True)

    def image(self, name: str) -> model.Image:
        """A 9 MiB image with a hole and an odd length, the same at every call."""
        path = f"{self.images}/{name}"
        if not os.path.exists(path):
            with open(f"{path}.new", "wb") as f:
                f.write(pattern(name, 3 * units.MIB))
                f.seek(8 * units.MIB)
                f.write(pattern(name, units.MIB + 777))
                f.flush()
                os.fsync(f.fileno())
            os.rename(f"{path}.new", path)
        return model.Image(1, path)

    def ref(self, disk: int) -> model.DiskRef:
        return model.DiskRef(VM, disk, 3, self.sds, self.directory)

    def order(self, request: object, host: Host) -> model.Reply:
        if isinstance(request, model_points.Restore):
            self.stage()
        return main.answer(model.Order(__version__, request, self.settings).to_json(), host)

    def do(self, request: object) -> None:
        reply = self.order(request, Host())
        if reply.error:
            raise AssertionError(f"{request}: {reply.error}: {reply.text}")

    # --- scenarios: what to prepare, what to order, what must be true afterwards

    def scenarios(self) -> Iterator[tuple[str, Callable[[], None], object, Callable[[], None]]]:
        base = self.image("base")
        clone = model.Clone(self.ref(0), base, 0)
        large = model.Clone(self.ref(0), base, 40 * units.MIB)
        copy = model.Link(self.ref(0), self.image("data"), 0, False)
        cd = model.Link(self.ref(0), base, 0, True)
        swap = model.MakeSwap(self.ref(0), 8 * units.MIB, "swap-0")
        ext4 = model.MakeImage(self.ref(0), 16 * units.MIB, "ext4", "scratch-0")
        save = model.Save(self.ref(0), self.image("data"))
        delete = model.Delete(VM, 0, self.sds, self.directory)
        delete_all = model.Delete(VM, -1, self.sds, self.directory)

        def nothing() -> None:
            pass

        def warm() -> None:
            self.do(model.Clone(self.ref(9), base, 0))

        def warm_large() -> None:
            self.do(model.Clone(self.ref(9), base, large.size))

        def filled() -> None:
            self.do(clone)

        def dirty() -> None:
            self.renew("data")
            self.do(copy)
            self.write(0, 4 * units.MIB, pattern("guest", units.MIB))

        def same() -> None:
            self.require_content(0, base.path)

        def labelled(kind: str) -> Callable[[], None]:
            return lambda: self.require_type(0, kind)

        yield "clone-cold", nothing, clone, same
        yield "clone-warm", warm, clone, same
        yield "clone-large", warm_large, large, same
        yield "ln", nothing, copy, lambda: self.require_content(0, copy.image.path)
        yield "ln-readonly", warm, cd, same
        yield "mkswap", nothing, swap, labelled("swap")
        yield "mkimage", nothing, ext4, labelled("ext4")
        snap = model_points.SnapCreate(self.ref(0), 0)
        revert = model_points.SnapRevert(self.ref(0), 0)
        new = model.Image(1, f"{self.images}/new")
        backup = f"{self.directory}/backup"
        full = model_points.PreBackup(VM, -1, self.sds, self.directory, backup, [0], 0, True, True, "eA==")
        increment = dataclasses.replace(full, increment=1)

        def worked() -> None:
            self.do(clone)
            self.write(0, 4 * units.MIB, pattern("guest", units.MIB))

        def snapped() -> None:
            self.do(clone)
            self.do(snap)
            self.write(0, 4 * units.MIB, pattern("guest", units.MIB))

        def backed_up() -> None:
            self.do(clone)
            self.do(full)
            with open(f"{self.directory}/backup/disk.0.0", "rb") as f:
                backup = f.read()
            with open(f"{self.images}/.full", "wb") as f:
                f.write(backup)
            self.write(0, 4 * units.MIB, pattern("guest", units.MIB))
            self.write(0, 0, bytes(units.MIB))

        def copied() -> None:
            self.renew("data")
            self.do(copy)

        def is_snapped() -> None:
            self.write(0, 4 * units.MIB, pattern("guest", units.MIB))
            self.do(revert)
            same()

        def is_reverted() -> None:
            self.require_volumes("", "-s0")
            same()

        def is_deleted() -> None:
            self.require_volumes("")
            self.require_guest(self.ref(0).link)

        def is_grown(image: str) -> Callable[[], None]:
            def check() -> None:
                self.require_content(0, image)
                with open(self.ref(0).link, "rb") as f:
                    assert f.seek(0, 2) == 40 * units.MIB, "the disk is not as large as was asked for"

            return check

        def is_saved() -> None:
            self.require_guest(new.path)
            self.require_guest(self.ref(0).link)

        if self.mode == "thin":
            yield "snap_create", filled, snap, is_snapped
            yield "snap_delete", snapped, model_points.SnapDelete(self.ref(0), 0), is_deleted
            yield "snap_revert", snapped, revert, is_reverted
            yield "resize", filled, model_points.Resize(self.ref(0), 40 * units.MIB), is_grown(base.path)
            yield "backup", backed_up, increment, self.require_backup
        else:
            yield "resize", copied, model_points.Resize(self.ref(0), 40 * units.MIB), is_grown(copy.image.path)
        yield "cpds", worked, model_points.SaveAs(self.ref(0), new, -1), is_saved
        yield "restore", worked, model_points.Restore(VM, -1, self.sds, self.directory, [0]), same
        yield "mvds", dirty, save, self.require_saved
        other, away = OTHER[self.sds], f"/var/lib/one/datastores/{OTHER[self.sds]}/{VM}"
        place = model_moves.Place("", other, away, sys.executable, "/var/tmp/one", 10)
        move = model_moves.Move(VM, 0, 4, self.sds, self.directory, place)
        rest = model_moves.Move(VM, -1, 4, self.sds, self.directory, place)
        drop = model_moves.Drop(VM, -1, other, away, [f"lv-one-{VM}-0"], False)

        def away_and_warm() -> None:
            """A disk in the VG of the other mode, which its guest has written to; the image is cached here."""
            warm()
            self.elsewhere(model.Clone(model.DiskRef(VM, 0, 3, other, away), base, 0))
            self.write_to(f"{away}/disk.0", 4 * units.MIB, pattern("guest", units.MIB))
            with open(f"{away}/checkpoint", "wb") as f:
                f.write(pattern("checkpoint", 100_001))
            os.sync()

        def here() -> None:
            away_and_warm()
            self.do(move)

        def moved() -> None:
            self.require_written(f"{self.directory}/disk.0")
            if os.path.lexists(away):  # until all is over the source is as good as it was
                self.require_written(f"{away}/disk.0")

        def all_moved() -> None:
            self.require_written(f"{self.directory}/disk.0")
            with open(f"{self.directory}/checkpoint", "rb") as f:
                assert f.read() == pattern("checkpoint", 100_001), "the checkpoint is not what it was"
            assert not os.path.lexists(away), "the source is left"

        yield "mv", away_and_warm, move, moved
        yield "mv-rest", here, rest, all_moved
        yield "drop", here, drop, lambda: self.require_written(f"{self.directory}/disk.0")
        yield "delete", filled, delete, self.require_gone
        yield "delete-all", filled, delete_all, self.require_gone

    def elsewhere(self, request: object) -> None:
        """Do something in the VG of the other mode."""
        settings = model.Settings(mode="thick" if self.mode == "thin" else "thin", cache_min_age=0, lock_wait=60)
        reply = main.answer(model.Order(__version__, request, settings).to_json(), Host())
        assert not reply.error, f"{request}: {reply.error}: {reply.text}"

    def require_written(self, path: str) -> None:
        """A disk of `base` with what its guest wrote."""
        wanted = bytearray(self.original("base"))
        wanted[4 * units.MIB : 5 * units.MIB] = pattern("guest", units.MIB)
        with open(path, "rb") as f:
            assert f.read(len(wanted)) == wanted, f"{path} is not what the guest wrote"

    def require_somewhere(self) -> None:
        """The disk that moves is whole in one VG or in both, by LVM alone: links may be lost for a while."""
        why = []
        for sds in (self.sds, OTHER[self.sds]):
            volume = lvm.group(Host(), names.vg(sds)).find(f"lv-one-{VM}-0")
            if volume is not None and names.PARTIAL not in volume.tags:
                lvm.activate(Host(), names.vg(sds), volume.name)
                try:
                    self.require_written(names.device(names.vg(sds), volume.name))
                    return
                except AssertionError as e:
                    why.append(str(e))
        raise AssertionError(f"the only copy is lost: {why}")

    def write_to(self, path: str, offset: int, content: bytes) -> None:
        with open(path, "r+b", buffering=0) as f:
            f.seek(offset)
            f.write(content)
            os.fsync(f.fileno())

    def renew(self, name: str) -> None:
        path = f"{self.images}/{name}"
        if os.path.exists(path):
            os.unlink(path)
        self.image(name)

    def write(self, disk: int, offset: int, content: bytes) -> None:
        self.write_to(self.ref(disk).link, offset, content)

    # --- checks

    def require_content(self, disk: int, path: str) -> None:
        with open(path, "rb") as image, open(self.ref(disk).link, "rb") as device:
            wanted, got = image.read(), device.read()
        assert got[: len(wanted)] == wanted, f"disk.{disk} differs from its image"
        assert not got[len(wanted) :].strip(b"\0"), f"disk.{disk} has older content behind its image"

    def require_type(self, disk: int, kind: str) -> None:
        argv = ["/usr/sbin/blkid", "-p", "-o", "value", "-s", "TYPE", self.ref(disk).link]
        done = subprocess.run(argv, capture_output=True, check=False)
        assert done.stdout.decode().strip() == kind, f"disk.{disk} is not {kind}: {done}"

    def require_saved(self) -> None:
        data = bytearray(self.original("data"))
        data[4 * units.MIB : 5 * units.MIB] = pattern("guest", units.MIB)
        assert self.digest("data") == hashlib.md5(data).hexdigest(), "the image is not what the guest wrote"
        self.require_gone()

    def stage(self) -> None:
        """Put the base image where the front-end puts what it has fetched."""
        os.makedirs(f"{self.directory}/.restore", exist_ok=True)
        shutil.copy(self.image("base").path, f"{self.directory}/.restore/disk.0")

    def guest(self) -> bytes:
        data = bytearray(self.original("base"))
        data[4 * units.MIB : 5 * units.MIB] = pattern("guest", units.MIB)
        return bytes(data)

    def require_guest(self, path: str) -> None:
        with open(path, "rb") as f:
            got = f.read()
        wanted = self.guest()
        assert got[: len(wanted)] == wanted, f"{path} is not what the guest wrote"
        assert not got[len(wanted) :].strip(b"\0"), f"{path} has older content at its end"

    def require_volumes(self, *endings: str) -> None:
        disk = f"lv-one-{VM}-0"
        found = sorted(v[len(disk) :] for v in self.volumes() if v.startswith(disk))
        assert found == sorted(endings), f"volumes {found}"

    def require_backup(self) -> None:
        """A chain of both backups, put together as OpenNebula does it, reads what the disk holds."""
        self.require_volumes("", "-b0", "-b1")
        increment, whole = f"{self.images}/.increment", f"{self.images}/.whole"
        shutil.copy(f"{self.directory}/backup/disk.0.1", increment)
        for argv in (
            ["rebase", "-u", "-F", "qcow2", "-b", f"{self.images}/.full", increment],
            ["convert", "-O", "raw", increment, whole],
        ):
            subprocess.run(["qemu-img", *argv], check=True, capture_output=True)
        with open(whole, "rb") as f, open(self.ref(0).link, "rb") as device:
            backup, disk = f.read(), device.read()
        assert backup == disk[: len(backup)], "the backup is not what the disk holds"
        assert not disk[len(backup) :].strip(b"\0")
        shutil.rmtree(f"{self.directory}/backup")

    def intact(self, scenario: str) -> None:
        """After a strike at a disk that is there: its content, old or new, is in the disk or in what had its name."""
        if not scenario.startswith(("snap", "restore", "cpds", "backup")):
            return
        now = self.volumes()
        name = next(n for n in (f"lv-one-{VM}-0", f"lv-one-{VM}-0-old") if n in now)
        base, guest = self.original("base"), self.guest()
        zeroed = bytes(units.MIB) + guest[units.MIB :]
        with open(f"/dev/{self.vg}/{name}", "rb") as f:
            got = f.read(len(base))
        assert got in (base, guest, zeroed), f"{name} lost its content"

    def require_gone(self) -> None:
        assert not os.path.lexists(self.ref(0).link), "the link is left"
        assert not [v for v in self.volumes() if v.startswith(f"lv-one-{VM}-0")], "the volume is left"

    def original(self, name: str) -> bytes:
        content = pattern(name, 3 * units.MIB) + bytes(5 * units.MIB) + pattern(name, units.MIB + 777)
        assert len(content) == 9 * units.MIB + 777
        return content

    def digest(self, name: str) -> str:
        with open(f"{self.images}/{name}", "rb") as f:
            return hashlib.md5(f.read()).hexdigest()

    def volumes(self, incomplete: bool = False) -> list[str]:
        """All volumes but the thin pool; with `incomplete` only those that are not complete origins."""
        found = [v for v in lvm.group(Host(), self.vg).volumes if v.name != names.THIN_POOL]
        return [v.name for v in found if not (incomplete and names.COMPLETE in v.tags)]

    def files(self) -> list[str]:
        found = [f"{d}/{n}" for d in (self.images, self.directory) if os.path.isdir(d) for n in os.listdir(d)]
        return sorted(
            f for f in found if not f.endswith((".saved", ".restore", "/new", ".full", ".increment", ".whole"))
        )

    def debris(self) -> list[str]:
        """What no finished action leaves: fills, temporary files, origins that are not complete."""
        volumes = lvm.group(Host(), self.vg).volumes
        return [
            *(v.name for v in volumes if v.name.startswith(names.FILL_PREFIX)),
            *(v.name for v in volumes if v.name.startswith(names.ORIGIN_PREFIX) and names.COMPLETE not in v.tags),
            *(v.name for v in volumes if v.name.endswith(PASSING)),
            *(f for f in self.files() if ".vaf-" in f or f.endswith((".new", ".restore"))),
        ]

    def reset(self, origins: bool = True, elsewhere: bool = True) -> None:
        """Nothing of the VM; no origins either if `origins`; and nothing of it in the other VG if `elsewhere`."""
        names_too = ' || lv_name=~"^vaf-(origin|fill)-"' if origins else ""
        lvm.remove(Host(), self.vg, f"({lvm.by_tag('vm', VM)}{names_too})")
        shutil.rmtree(self.directory, ignore_errors=True)
        for f in os.listdir(self.images):
            if ".vaf-" in f or f == "new":
                os.unlink(f"{self.images}/{f}")
        if elsewhere:
            other = OTHER[self.sds]
            lvm.remove(Host(), names.vg(other), lvm.by_tag("vm", VM))
            shutil.rmtree(f"/var/lib/one/datastores/{other}/{VM}", ignore_errors=True)


def pattern(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def strike(bench: Bench, order: object, at: int | str, how: str, halt: bool = False) -> str:
    """Run the order in a child that is struck; what became of it: the error's class, "" or "killed"."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        reply = bench.order(order, StruckHost(at, how, halt))
        os.write(writer, reply.error.encode() + b".")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as f:
        said = f.read().decode()
    os.waitpid(child, 0)
    return said[:-1] if said.endswith(".") else "killed"


def takes(scenario: str) -> bool:
    """Whether the scenario is about a disk whose link is there before it."""
    return scenario.startswith(PRESENT) or scenario in ("mv-rest", "drop")


def matrix(bench: Bench, only: list) -> None:
    for name, prepare, order, check in bench.scenarios():
        if only and name not in only:
            continue
        cold = name == "clone-cold"
        bench.reset()
        prepare()
        before = bench.volumes(), bench.files()
        counting = StruckHost()
        reply = bench.order(order, counting)
        assert not reply.error, (name, reply)
        for at in range(1, counting.step + 1):
            what = counting.steps[at - 1]
            possible = STRIKES if counting.kinds[at - 1] in PROGRAMS else STRIKES[:2]
            for how in [h for h in possible if h in ONLY.get(name, STRIKES)]:
                bench.reset(origins=cold, elsewhere=name in MOVES)
                prepare()
                result = {"scenario": name, "step": at, "what": what, "strike": how}
                try:
                    end = strike(bench, order, at, how)
                    if name.startswith(PRESENT):
                        bench.intact(name)
                    if how == "fail" and what in HEALED:
                        assert not end, f"it did not get over a failing {what}: {end}"
                    elif how == "fail":
                        assert end, "struck, but the reply is a success"
                        left = set(bench.volumes(incomplete=True)) - set(before[0])
                        assert not left, f"left {left}"
                        # files that came are no harm: they come again
                        assert name == "mv-rest" or bench.files() == before[1], f"left {bench.files()}"
                    elif os.path.lexists(bench.ref(0).link) and not takes(name):
                        check()  # what is published is good
                    if name in MOVES:
                        bench.require_somewhere()
                    reply = bench.order(order, Host())
                    assert not reply.error, f"again: {reply.error}: {reply.text}"
                    check()
                    assert not bench.debris(), f"debris {bench.debris()}"
                    result["ok"] = True
                except AssertionError as e:
                    result["ok"] = False
                    result["why"] = str(e)
                print(json.dumps(result), flush=True)
    bench.reset()


def run(argv: list) -> None:
    what, bench = argv[1], Bench(argv[2], int(argv[3]))
    if what == "matrix":
        matrix(bench, argv[4:])
        return
    _, prepare, order, check = next(s for s in bench.scenarios() if s[0] == argv[4])
    if what == "halt":
        bench.reset()
        prepare()
        os.sync()  # or the cut brings links back that an earlier scenario had left and the reset removed
        strike(bench, order, argv[5], argv[6], halt=True)
    else:
        if os.path.lexists(bench.ref(0).link) and not takes(argv[4]):
            check()  # what was published survived the cut
        if argv[4].startswith(PRESENT):
            bench.intact(argv[4])
        if argv[4] in MOVES:
            bench.require_somewhere()
        reply = bench.order(order, Host())
        assert not reply.error, f"{reply.error}: {reply.text}"
        check()
        assert not bench.debris(), bench.debris()
        print("GOOD")


if __name__ == "__main__":
    run(sys.argv)

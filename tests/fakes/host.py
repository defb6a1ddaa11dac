"""FakeHost: the Host of a node without LVM or block devices, which can fail, be interrupted or die at any step.

Every method that has an effect is one step.  Volumes are files (FakeLvm), so the contents are real; dd and cmp are done
in this process (their argument lists are read strictly), qemu-img is the real one.
"""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.lvm import LOOKING, FakeLvm, written
from vafnebula import errors, process, wire
from vafnebula.model import Order, Reply
from vafnebula.model_moves import Place
from vafnebula.node import main, signals
from vafnebula.node.host import Host

MAKERS = {
    "mkswap": (),
    "mkfs.xfs": ("-q", "-f", "-K"),
    "mkfs.ext4": ("-q", "-F", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"),
    "mkfs.ext3": ("-q", "-F", "-E", "nodiscard"),
    "mkfs.ext2": ("-q", "-F", "-E", "nodiscard"),
}


class Killed(BaseException):
    """The node half is no more: nothing of it runs from here on, no undo either."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong at `step`, which is its number (from 1) or the name of the first one.

    fail        it fails without effect
    broken      so does every later one, those of the undo too
    interrupt   a signal comes when its effect is there (a copy: half of it)
    kill        the same, and the process is gone
    call        `action` is done in front of it; nothing goes wrong
    """

    step: int | str
    kind: str
    action: Callable[[], object] = field(default=lambda: None)


@dataclass(frozen=True)
class Told:
    """What another half had to say: a stream and its reply."""

    out: io.BytesIO

    def reply(self, last: bytes = b"") -> Reply:
        return _checked(Reply.from_json(last + self.out.read()))


def _checked(reply: Reply) -> Reply:
    if reply.error:
        raise errors.rebuilt(reply.error, reply.text)
    return reply


class FakeHost(Host):
    """One run of the node half on the node whose LVM is `lvm_of_node`."""

    def __init__(self, lvm_of_node: FakeLvm, fault: Fault | None = None) -> None:
        super().__init__()
        self.node_lvm = lvm_of_node
        self.fault = fault
        self.steps: list[str] = []
        self.commands: list[tuple[str, ...]] = []  # of LVM
        self.formats: list[tuple[str, ...]] = []
        self.copies: list[tuple[str, ...]] = []
        self.read: dict[str, int] = {}  # bytes that dd read, by file
        self.fed = io.BytesIO()  # what comes behind the order
        self.sent = io.BytesIO()  # what goes out in front of the reply
        self._dead = False

    @property
    def changes(self) -> list[tuple[str, ...]]:
        """The LVM commands that change something."""
        return [c for c in self.commands if c[0] not in LOOKING]

    @contextmanager
    def _step(self, what: str) -> Iterator[bool]:
        """Yields whether this step is the one to be cut short."""
        if self._dead:
            raise Killed
        self.steps.append(what)
        fault = self.fault if self.fault and self.fault.step in (len(self.steps), what) else None
        if fault is None:
            yield False
            return
        if fault.kind != "broken":
            self.fault = None
        elif isinstance(fault.step, int):
            self.fault = replace(fault, step=fault.step + 1)
        if fault.kind == "call":
            fault.action()
            yield False
            return
        if fault.kind in ("fail", "broken"):
            raise errors.CommandFailed(program=what, code=1, why="this step fails")
        yield True
        if fault.kind == "kill":
            self._dead = True
            raise Killed
        raise errors.Interrupted(why=signal.Signals.SIGTERM.name)

    def lvm(self, argv: Sequence[str]) -> process.Completed:
        with signals.shielded():
            try:
                with self._step(f"lvm {argv[0]}"):
                    self.commands.append(tuple(argv))
                    if argv[0] == "dmsetup":
                        return process.Completed(tuple(argv), self.node_lvm.message(argv), b"", b"")
                    return process.Completed(tuple(argv), *self.node_lvm.run(argv))
            except errors.CommandFailed:
                return process.Completed(tuple(argv), 5, b"", b"  Something that nobody foresaw went wrong.\n")

    def query(self, argv: Sequence[str], timeout: float = 0) -> process.Completed:
        if self._dead:
            raise Killed
        if argv[:3] == ["sudo", "-n", "-l"]:
            return process.Completed(tuple(argv), 0, f"/usr/sbin/{argv[3]}\n".encode(), b"")
        if argv[:3] == ["lvmconfig", "--typeconfig", "full"]:
            warning = b"  WARNING: Running as non-root.\n"
            return process.Completed(tuple(argv), 0, b"scan_lvs=0\nmonitoring=1\n", warning)
        return process.Completed(tuple(argv), 0, self.node_lvm.thin_delta(argv), b"")

    def make_directory(self, path: str) -> None:
        with self._step("make_directory"):
            super().make_directory(path)

    def format(self, argv: Sequence[str], *, root: bool = False) -> None:
        program, *words, flag, label, device = argv
        assert root == (program == "mkfs.xfs"), "the sudo rule has mkfs.xfs and no other"
        assert flag == "-L"
        assert tuple(words) == MAKERS[program]
        with self._step(program) as cut:
            self.formats.append(tuple(argv))
            with open(device, "r+b") as f:
                f.write(b"half" if cut else signature(program, label))

    def copy(self, argvs: Sequence[Sequence[str]], locks: Sequence[int]) -> list[process.Completed]:
        assert locks, "a copy without a lock"
        for fd in locks:
            os.fstat(fd)
        with self._step(f"copy {argvs[0][0]}") as cut:
            self.copies.extend(tuple(argv) for argv in argvs)
            return [self._program(argv, cut) for argv in argvs]

    def _program(self, argv: Sequence[str], cut: bool) -> process.Completed:
        if argv[0] == "dd":
            return self._dd(argv, cut)
        if argv[0] == "cmp":
            return _cmp(argv)
        assert argv[0] in ("qemu-img", "qemu-io")
        # The volumes of this node are files.
        done = process.run(
            [word.replace("driver=host_device", "driver=file") for word in argv], timeout=60, check=False
        )
        if done.code:
            raise errors.CommandFailed(program=argv[0], code=done.code, why=done.why)
        return done

    def _dd(self, argv: Sequence[str], cut: bool) -> process.Completed:
        words = dict(word.split("=", 1) for word in argv[1:])
        assert set(words) <= {"if", "of", "bs", "ibs", "obs", "count", "skip", "seek", "iflag", "oflag", "conv"}
        assert words.get("iflag", "direct") == words.get("oflag", "direct") == "direct"
        conv = set(words["conv"].split(","))
        assert {"notrunc", "nocreat", "fsync"} <= conv <= {"notrunc", "nocreat", "fsync", "sparse"}
        assert ("bs" in words) != ("ibs" in words and "obs" in words)
        block, small = (int(words.get(word, words.get("bs", 0))) for word in ("ibs", "obs"))
        count = int(words["count"])
        copied = 0
        if not os.path.exists(words["if"]):
            why = f"dd: failed to open '{words['if']}': No such file or directory"
            raise errors.CommandFailed(program="dd", code=1, why=why)
        with open(words["if"], "rb") as source, open(words["of"], "r+b") as target:
            source.seek(int(words.get("skip", 0)) * block)
            start = int(words.get("seek", 0)) * small
            while count > 0 and (data := source.read(block)):
                for offset in range(0, len(data), small):
                    piece = data[offset : offset + small]
                    if "sparse" not in conv or piece != bytes(len(piece)):
                        os.pwrite(target.fileno(), piece, start + copied + offset)
                copied, count = copied + len(data), count - 1
                if cut:
                    break
        self.read[words["if"]] = self.read.get(words["if"], 0) + copied
        return process.Completed(tuple(argv), 0, b"", b"0+0 records in\n%d bytes copied, 1 s, 1 B/s\n" % copied)

    def receive(self, reader: wire.Reader, path: str, size: int) -> None:
        with self._step("receive") as cut:
            if not cut:
                super().receive(reader, path, size)
                return
            with open(path, "r+b") as f:
                for change in reader.changes():
                    os.pwrite(f.fileno(), change.data or bytes(change.length), change.offset)
                    break

    def take_file(self, reader: wire.Reader, head: dict[str, Any], directory: str) -> None:
        with self._step("take_file"):
            super().take_file(reader, head, directory)

    def incoming(self) -> io.BytesIO:
        return self.fed

    def outgoing(self) -> io.BytesIO:
        return self.sent

    def ask(self, place: Place, order: Order) -> Reply:
        """Only this node itself can be asked: another datastore of it is as far away as another node."""
        assert place.host == ""
        with self._step(f"ask {order.request.verb}"):
            return _checked(main.answer(order.to_json(), FakeHost(self.node_lvm)))

    @contextmanager
    def converse(self, place: Place, order: Order) -> Iterator[Told]:  # type: ignore[override]
        assert place.host == ""
        with self._step(f"converse {order.request.verb}"):
            other = FakeHost(self.node_lvm)
            reply = main.answer(order.to_json(), other)
            yield Told(io.BytesIO(other.sent.getvalue() + reply.to_json() + b"\n"))

    def zero(self, device: str, offset: int, length: int) -> None:
        with self._step("zero"), open(device, "r+b") as f:
            assert offset % 512 == length % 512 == 0
            assert offset + length <= os.fstat(f.fileno()).st_size
            for start, end in written(f.fileno(), offset):
                if start < offset + length:
                    os.pwrite(f.fileno(), bytes(min(end, offset + length) - start), start)

    def publish(self, device: str, link: str) -> None:
        with signals.shielded(), self._step("publish"):
            super().publish(device, link)

    def unlink(self, path: str) -> None:
        with self._step("unlink"):
            super().unlink(path)

    def remove_tree(self, directory: str) -> None:
        with self._step("remove_tree"):
            super().remove_tree(directory)

    def write_file(self, path: str, content: bytes) -> None:
        with self._step("write_file"):
            super().write_file(path, content)

    def prepare_file(self, path: str, like: os.stat_result) -> None:
        with self._step("prepare_file"):
            super().prepare_file(path, like)

    def finish_file(self, path: str, size: int) -> None:
        with self._step("finish_file"):
            super().finish_file(path, size)

    def rename(self, old: str, new: str) -> None:
        with self._step("rename"):
            super().rename(old, new)


def signature(program: str, label: str) -> bytes:
    """What the fake mkfs or mkswap writes."""
    return f"<{program} {label}>".encode()


def _cmp(argv: Sequence[str]) -> process.Completed:
    _, flag, size, one, other = argv
    assert flag == "-n"
    with open(one, "rb") as a, open(other, "rb") as b:
        if a.read(int(size)) != b.read(int(size)):
            raise errors.CommandFailed(program="cmp", code=1, why=f"{one} {other} differ: byte 1, line 1")
    return process.Completed(tuple(argv), 0, b"", b"")

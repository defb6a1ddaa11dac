"""A stopped or undeployed VM, parked on the front-end: what is a volume on a node is a plain sparse file here.

    SDIR/disk.N               the disk, raw, as large as its volume
    SDIR/disk.N.snap/<ID>     its disk snapshots; b<N>: what backup N holds
    SDIR/.disk.N.vaf          the card: history record and parts (model.Part), with the volumes' tags

A disk is parked when its card is there and names the history record; the card is written before the last rename, and an
older disk.N goes before it.  Everything is written under a name of this process and renamed when it is proven, so two
at once harm each other as little as one that is killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from vafnebula import __version__, blocks, errors, files, names, process, ssh, wire
from vafnebula.config import Site
from vafnebula.model import Order
from vafnebula.model_moves import Drop, Offer, Part, Receive, Send
from vafnebula.one.xml import Vm
from vafnebula.tm.argv import Call

_CARD = re.compile(r"\.disk\.(\d+)\.vaf")
_PARKED = re.compile(r"disk\.(\d+)(\.snap/.*)?|\.disk\.(\d+)\.vaf")


@dataclass(frozen=True)
class Card:
    """What is known of a parked disk."""

    seq: int
    parts: list[Part]


def card(directory: str, disk: int) -> Card | None:
    """The card of a disk that is parked in `directory`, None when it is not."""
    if not os.path.isfile(f"{directory}/disk.{disk}"):
        return None
    try:
        with open(f"{directory}/.disk.{disk}.vaf", "rb") as f:
            found = json.load(f)
        return Card(int(found["seq"]), Part.parsed(found["parts"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, errors.NodePackage) as e:
        path = f"{directory}/.disk.{disk}.vaf"
        raise errors.SystemRefused(path=path, why=f"not a card of ours ({e})") from e


def cards(directory: str) -> dict[int, Card]:
    """The cards of all disks parked in `directory`."""
    listed = os.listdir(directory) if os.path.isdir(directory) else []
    numbers = sorted(int(m[1]) for m in map(_CARD.fullmatch, listed) if m)
    found = {n: card(directory, n) for n in numbers}
    return {n: c for n, c in found.items() if c is not None}


def there(directory: str, disk: int) -> bool:
    """Whether the disk, or with -1 any disk of the VM, is parked in `directory`."""
    return bool(cards(directory) if disk < 0 else card(directory, disk))


# --- stop, undeploy: node -> here


def keep(call: Call, vm: Vm, site: Site) -> Mapping[str, object]:
    """Copy a disk here, or with disk -1 the rest, and then remove the source."""
    if call.disk < 0:
        return _keep_directory(call, vm, site)
    known = card(call.directory, call.disk)
    if known and known.seq == vm.seq:
        return {"result": "there"}
    settings, place = site.storage(call.from_sds), (call.from_sds, call.from_directory)
    offer = Offer(call.vm, call.disk, *place, held=False)
    parts = Part.parsed(ssh.ask(call.from_host, Order(__version__, offer, settings), site).facts.get("parts"))
    send = Send(call.vm, call.disk, *place, [p.name for p in parts], ["" for _ in parts], held=False)
    os.makedirs(call.directory, exist_ok=True)
    fresh: list[tuple[str, str]] = []

    def take(position: int, reader: wire.Reader) -> None:
        target = file_of(call.directory, parts[position])
        fresh.append((f"{target}.vaf-{os.getpid()}", target))
        _take(reader, fresh[-1][0], parts[position].size)

    try:
        with ssh.converse(call.from_host, Order(__version__, send, settings), site) as node:
            reader = wire.receive(node, [p.name for p in parts], take)
        _publish(call, Card(vm.seq, parts), fresh)
    finally:
        for path, _ in fresh:
            with suppress(FileNotFoundError):
                os.unlink(path)
    return {"result": "parked", "bytes": reader.bytes}


def file_of(directory: str, part: Part) -> str:
    """Where a part is parked."""
    found = re.fullmatch(r"lv-one-\d+-(\d+)(?:-(?:s(\d+)|(b\d+)))?", part.name)
    if found is None:
        raise errors.NodePackage(why="gave an answer that is not ours")
    disk, snapshot, backup = found.groups()
    return f"{directory}/disk.{disk}" + (f".snap/{snapshot or backup}" if snapshot or backup else "")


def _take(reader: wire.Reader, path: str, size: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as f:
        f.truncate(size)
    with blocks.Sink(path, size) as sink:
        for change in reader.changes():
            sink.put(change)
        sink.flush()
        sink.prove(reader.digest)


def _publish(call: Call, known: Card, fresh: list[tuple[str, str]]) -> None:
    whole = f"{call.directory}/disk.{call.disk}"
    with suppress(FileNotFoundError):
        os.unlink(whole)
    for path, target in fresh:
        if target != whole:
            os.replace(path, target)
            files.sync(os.path.dirname(target))
    text = json.dumps({"seq": known.seq, "parts": [asdict(p) for p in known.parts]}).encode()
    new = f"{call.directory}/.disk.{call.disk}.vaf-{os.getpid()}"
    with open(new, "wb") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(new, f"{call.directory}/.disk.{call.disk}.vaf")
    for path, target in fresh:
        if target == whole:
            os.replace(path, target)
    files.sync(call.directory)


def _keep_directory(call: Call, vm: Vm, site: Site) -> Mapping[str, object]:
    settings, place = site.storage(call.from_sds), (call.from_sds, call.from_directory)
    send = Send(call.vm, -1, *place, [], [], held=False)
    with ssh.converse(call.from_host, Order(__version__, send, settings), site) as node:
        reader = wire.Reader(node.out)
        head = reader.next()
        while head is not None:
            files.take(reader, head, call.directory)
            head = reader.next()
        node.reply(reader.last)
    here = [p.name for c in cards(call.directory).values() if c.seq == vm.seq for p in c.parts]
    drop = Drop(call.vm, -1, *place, here, held=False)
    ssh.ask(call.from_host, Order(__version__, drop, settings), site)
    return {"result": "parked", "bytes": reader.bytes}


# --- resume: here -> node


def bring_back(call: Call, vm: Vm, site: Site) -> Mapping[str, object]:
    """Send a parked disk to a node, or with disk -1 the rest, and then remove what is parked."""
    directory = call.from_directory
    receive = Receive(call.vm, call.disk, vm.seq, call.sds, call.directory)
    order = Order(__version__, receive, site.storage(call.sds))
    with ssh.converse(call.host, order, site) as node:
        with suppress(BrokenPipeError):  # the node has its reason, or the disk
            out = wire.Writer(node.feed)
            if call.disk < 0:
                files.send(out, directory, skip=lambda path: bool(_PARKED.fullmatch(path.rstrip("/"))))
            else:
                _send_disk(out, directory, card(directory, call.disk))
        reply = node.reply()
    if call.disk < 0:
        copied = reply.facts.get("copied")
        for part in (p for c in cards(directory).values() for p in c.parts):
            if not isinstance(copied, list) or part.name not in copied:
                raise errors.NotCopied(what=f"{file_of(directory, part)} on the front-end", vm=call.vm)
        shutil.rmtree(directory, ignore_errors=not os.path.exists(directory))
    return reply.facts


def _send_disk(out: wire.Writer, directory: str, known: Card | None) -> None:
    for part in known.parts if known else []:
        with blocks.Device(file_of(directory, part)) as file:
            used = os.stat(file.path).st_blocks * 512
            alone = replace(part, size=file.size, used=used, parent="", image="", print="", origin="")
            out.begin(asdict(alone))
            for change in blocks.differences(file, None, file.data()):
                out.change(change)
            out.end()


# --- the end: what is parked is saved, or goes


def saved(call: Call) -> bool:
    """Whether the disk was parked here and has been saved to its image."""
    try:
        with open(_marker(call), encoding="utf-8") as f:
            return f.read() == call.source
    except FileNotFoundError:
        return False


def save(call: Call) -> Mapping[str, object]:
    """Put a parked disk in the place of its image: whole, compared, by a rename; and then give the file up.

    Raises ImageMissing when there is no image to be replaced, CopyFailed.
    """
    known = card(call.directory, call.disk)
    whole = names.disk_volume(call.vm, call.disk)
    part = next((p for p in known.parts if p.name == whole), None) if known else None
    if part is None:
        raise errors.NotFound(what=f"disk {call.disk}", advice="it is not parked here")
    try:
        mode = stat.S_IMODE(os.stat(call.source).st_mode) & 0o777
    except OSError as e:
        raise errors.ImageMissing(path=call.source, why=e.strerror) from e
    size = _write(call, part, mode, qcow2=names.tag_value(frozenset(part.tags), "format") == "qcow2")
    with open(_marker(call), "w", encoding="utf-8") as f:
        f.write(call.source)
        f.flush()
        os.fsync(f.fileno())
    remove(call.directory, call.disk)
    return {"result": "saved", "bytes": size}


def save_as(call: Call) -> Mapping[str, object]:
    """Copy a parked disk, or its disk snapshot, into the new file of an image: whole, proven, by a rename."""
    known = card(call.directory, call.disk)
    ending = "" if call.snap < 0 else f"-s{call.snap}"
    name = names.disk_volume(call.vm, call.disk) + ending
    part = next((p for p in known.parts if p.name == name), None) if known else None
    if part is None:
        raise errors.NotFound(what=f"{name} on the front-end", advice="choose another disk snapshot")
    return {"result": "saved", "bytes": _write(call, part, None, qcow2=False)}


def _write(call: Call, part: Part, mode: int | None, *, qcow2: bool) -> int:
    """Put an image of a parked part, proven, in the place of the call's source; its bytes.

    `mode` are its permissions, None for those that a new file gets.
    """
    file, fresh = file_of(call.directory, part), f"{call.source}.vaf-{call.vm}-{call.disk}-{os.getpid()}"
    size = min(int(names.tag_value(frozenset(part.tags), "size") or part.size), part.size)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(fresh, flags, 0o666 if mode is None else 0o600))
        if mode is not None:
            os.chmod(fresh, mode)
        if qcow2:
            _save_qcow2(file, size, fresh)
        else:
            os.truncate(fresh, size)
            with blocks.Device(file) as old, blocks.Sink(fresh, size) as sink:
                data = [(start, min(end, size)) for start, end in old.data()]
                blocks.copy(blocks.differences(old, None, data), sink)
        os.replace(fresh, call.source)
        files.sync(os.path.dirname(call.source))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(fresh)
    return size


def _save_qcow2(file: str, size: int, fresh: str) -> None:
    view = f"driver=raw,size={size},file.driver=file,file.filename={file}"
    image = f"driver=qcow2,file.driver=file,file.filename={fresh.replace(',', ',,')}"
    convert = ["qemu-img", "convert", "--image-opts", "-O", "qcow2", "-t", "writeback", view, fresh]
    for argv in (convert, ["qemu-img", "compare", "--image-opts", image, view]):
        try:
            process.run(argv, timeout=None)
        except errors.CommandFailed as e:
            raise errors.CopyFailed(source=file, why=e.facts["why"]) from e


def remove(directory: str, disk: int) -> None:
    """Remove a parked disk, or with -1 the parked VM.  A directory with links is that of a node that runs here too."""
    if disk < 0:
        listed = os.listdir(directory) if os.path.isdir(directory) and not os.path.islink(directory) else None
        if listed is not None and not any(os.path.islink(f"{directory}/{name}") for name in listed):
            shutil.rmtree(directory)
        return
    if card(directory, disk) is None:
        return
    with suppress(FileNotFoundError):
        os.unlink(f"{directory}/disk.{disk}")
    with suppress(FileNotFoundError):
        os.unlink(f"{directory}/.disk.{disk}.vaf")
    if os.path.isdir(f"{directory}/disk.{disk}.snap"):
        shutil.rmtree(f"{directory}/disk.{disk}.snap")


def only_here(host: str, site: Site) -> bool:
    """Whether `host` is this front-end, and no hypervisor."""
    mine = site.name or os.uname().nodename
    return host == mine and not os.path.isdir(f"{site.remote_dir}/vafnebula")


def _marker(call: Call) -> str:
    return f"{call.directory}/.disk.{call.disk}.saved"

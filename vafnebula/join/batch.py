"""The batch system's part: fixed commands, of words that were checked, run by root for the user `vafreg`.

`Batch` is how the forced command asks for it, through sudo; `answer` is what root then does.  Nothing but checked
names, addresses and numbers crosses, and nothing is ever given to a shell.  Removing workers is the scaler's business.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vafnebula import errors, process
from vafnebula.join.settings import Settings
from vafnebula.keyvalue import Unusable

PROGRAM = "/usr/libexec/vafnebula/join"
HOSTS = "/etc/hosts"
MARK = "# joined, by vafnebula"
TIMEOUT = 30.0
TOKEN_LIFE = 30 * 24 * 3600
"""Seconds that an HTCondor worker's own token is good for; it names this worker, and may only advertise it."""

_NAME = re.compile(r"[a-z][a-z0-9]{0,15}(-[0-9a-f]{1,10}){1,8}")
_ABSENT = re.compile(rb"not found|[Uu]nknown node|cannot locate|Invalid node name")


@dataclass(frozen=True)
class Batch:
    """The batch system `system`, asked through `command`."""

    system: str
    command: Sequence[str] = ("sudo", "-n", PROGRAM, "batch")

    @property
    def keeps_nodes(self) -> bool:
        """Whether it has a list of nodes: HTCondor only knows those that spoke lately."""
        return self.system != "htcondor"

    def has(self, name: str) -> bool:
        """Whether it knows a worker of this name.  Raises CommandFailed."""
        return process.run([*self.command, "has", name], timeout=TIMEOUT).out == b"yes\n"

    def add(self, name: str, address: str, slots: int, memory: int) -> str:
        """Add a worker, or correct it; the text for the worker.  Raises CommandFailed."""
        words = ["add", name, address, str(slots), str(memory)]
        return process.run([*self.command, *words], timeout=TIMEOUT).out.decode("ascii")


def answer(settings: Settings, words: Sequence[str], hosts: str = HOSTS) -> str:
    """What root does for `has NAME` and `add NAME ADDRESS SLOTS MIB`.  Raises BadArgument, CommandFailed, Unusable."""
    verb, name, *rest = [*words, "", ""][: max(2, len(words))]
    if not _NAME.fullmatch(name) or not name.startswith(f"{settings.prefix}-"):
        raise errors.BadArgument(what="name", value=name, why=f"it is not {settings.prefix}-NUMBER")
    if verb == "has" and not rest:
        return "yes\n" if _has(settings.batch, name) else "no\n"
    if verb != "add" or len(rest) != 3:
        raise errors.BadArgument(what="request", value=" ".join(words), why="it is neither `has` nor `add`")
    address, slots, memory = _address(rest[0]), _number("slots", rest[1]), _number("memory", rest[2])
    if not settings.inside(address) or slots > settings.slots or memory > settings.memory:
        raise errors.BadArgument(what="request", value=" ".join(words), why="it is beyond what join.conf allows")
    _name_address(hosts, name, address)
    there = _has(settings.batch, name)
    for argv in _ADD[settings.batch](name, address, slots, memory, there):
        process.run(argv, timeout=TIMEOUT)
    return "".join(f"{line}\n" for line in _reply(settings, name))


def _slurm(name: str, address: str, slots: int, memory: int, there: bool) -> list[list[str]]:
    """A node of State=CLOUD may register later; `slurmd -Z` on the worker does."""
    if there:
        return [["scontrol", "update", f"nodename={name}", f"nodeaddr={address}"]]
    words = [f"nodename={name}", f"nodeaddr={address}", f"CPUs={slots}", f"RealMemory={memory}", "State=CLOUD"]
    return [["scontrol", "create", *words]]


def _torque(name: str, address: str, slots: int, memory: int, there: bool) -> list[list[str]]:
    return [["qmgr", "-c", f"set node {name} np = {slots}" if there else f"create node {name} np={slots}"]]


def _htcondor(name: str, address: str, slots: int, memory: int, there: bool) -> list[list[str]]:
    """A startd adds itself, with the token of the reply."""
    return []


_ADD = {"slurm": _slurm, "torque": _torque, "htcondor": _htcondor}
_ASK = {
    "slurm": ["scontrol", "show", "node", "-o"],
    "torque": ["pbsnodes"],
    "htcondor": ["condor_status", "-startd", "-limit", "1", "-af", "Machine", "-constraint"],
}


def _has(system: str, name: str) -> bool:
    word = f'Machine == "{name}"' if system == "htcondor" else name
    done = process.run([*_ASK[system], word], timeout=TIMEOUT, check=False)
    if done.code == 0:
        return bool(done.out.strip())
    if _ABSENT.search(done.out + done.err):
        return False
    raise errors.CommandFailed(program=_ASK[system][0], code=done.code, why=done.why)


def _reply(settings: Settings, name: str) -> Iterator[str]:
    """`name NAME`, then `file NAME BASE64` for all that the worker needs."""
    yield f"name {name}"
    for word, path in settings.files.items():
        try:
            data = Path(path).read_bytes()
        except OSError as e:
            raise Unusable(path=path, why=f"{e.strerror}, and `give` in join.conf names it") from e
        yield f"file {word} {base64.b64encode(data).decode()}"
    if settings.batch == "htcondor":
        rights = [word for right in ("ADVERTISE_MASTER", "ADVERTISE_STARTD", "READ") for word in ("-authz", right)]
        identity = f"{name}@{settings.cluster}"
        argv = ["condor_token_create", "-identity", identity, "-lifetime", str(TOKEN_LIFE), *rights]
        yield f"file token {base64.b64encode(process.run(argv, timeout=TIMEOUT).out).decode()}"


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise errors.BadArgument(what="address", value=text, why="it is not one") from None


def _number(what: str, text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,7}", text):
        raise errors.BadArgument(what=what, value=text, why="it is not a number above 0")
    return int(text)


def _name_address(hosts: str, name: str, address: str) -> None:
    """`name` in /etc/hosts, in one step, in place of what we wrote for it or its address before."""
    with _locked(f"{hosts}.vafnebula-lock"):
        lines = Path(hosts).read_text(encoding="utf-8").splitlines() if Path(hosts).exists() else []
        wanted = f"{address} {name} {MARK}"
        kept = [line for line in lines if not (line.endswith(MARK) and {name, address} & set(line.split()[:2]))]
        if [*kept, wanted] != lines:
            new = Path(f"{hosts}.vafnebula")
            new.write_text("\n".join([*kept, wanted, ""]), encoding="utf-8")
            new.chmod(0o644)
            new.replace(hosts)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)

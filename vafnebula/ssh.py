"""One order to a node and its reply, over one ssh: from the front-end, or from node to node.

ssh is taken from PATH: OpenNebula puts a wrapper there that shares connections.  A copy may take hours, so there is no
time limit, but a silent node is given up after a minute; over a shared connection it is the keep-alive of the
connection's first user that counts, and OpenNebula's ssh configuration has one of 10 s.

Only the front-end has a private key.  A node that shall enter another one is therefore entered with the front-end's
agent forwarded, which a shared connection cannot do: such a connection is one of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

from vafnebula import __version__, errors, process
from vafnebula.model import Order, Reply

NOT_FOUND = (126, 127)
UNREACHED = 255


class Way(Protocol):
    """How the node half is started: the site file says it to the front-end, and that to a node."""

    @property
    def python(self) -> str: ...
    @property
    def remote_dir(self) -> str: ...
    @property
    def connect_timeout(self) -> int: ...


def ask(host: str, order: Order, way: Way, *, forward: bool = False) -> Reply:
    """Have `host` ('' for this node itself) carry out `order`; with `forward` it may enter other nodes for it.

    Raises what the node reports, Unreachable when ssh fails, NodePackage when the node's half cannot be started, is of
    another version or says something else than a reply.
    """
    try:
        done = process.run(command(host, way, forward=forward), timeout=None, input=order.to_json(), check=False)
    except errors.CommandFailed as e:
        raise errors.Unreachable(host=host, why=f"the program ssh cannot be started ({e.facts['why']})") from e
    return reply(host, done)


class Conversation:
    """An order under way: `out` is what the other half writes, `feed` what it reads after the order."""

    def __init__(self, host: str, child: process.Piped) -> None:
        self.host = host
        self._child = child

    @property
    def out(self) -> BinaryIO:
        return self._child.out

    @property
    def feed(self) -> BinaryIO:
        return self._child.feed

    def reply(self, last: bytes = b"") -> Reply:
        """The reply, when all else was read: `last` is what was read of it already.  Raises as `ask` does."""
        return reply(self.host, self._child.finish(last))


@contextmanager
def converse(host: str, order: Order, way: Way) -> Iterator[Conversation]:
    """Have `host` carry out an order that sends or takes a stream of its own.  Leaving early ends it."""
    try:
        with process.piped(command(host, way)) as child:
            child.feed.write(order.to_json() + b"\n")
            child.feed.flush()
            yield Conversation(host, child)
    except errors.CommandFailed as e:
        raise errors.Unreachable(host=host, why=f"the program ssh cannot be started ({e.facts['why']})") from e


def command(host: str, way: Way, *, forward: bool = False) -> list[str]:
    """The argument list of ssh.  -I with a directory makes only that directory and the standard library importable."""
    if not host:
        return [way.python, "-I", "-S", f"{way.remote_dir}/vafnebula"]
    package = shlex.quote(f"{way.remote_dir}/vafnebula")
    cache = '"pycache_prefix=$HOME/.cache/vafnebula"'
    remote = f"exec {shlex.quote(way.python)} -I -S -X {cache} {package}"
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": way.connect_timeout,
        "ServerAliveInterval": 15,
        "ServerAliveCountMax": 4,
        **({"ForwardAgent": "yes", "ControlMaster": "no", "ControlPath": "none"} if forward else {}),
    }
    return ["ssh", "-T", *(word for k, v in options.items() for word in ("-o", f"{k}={v}")), "--", host, remote]


def reply(host: str, done: process.Completed) -> Reply:
    """The reply in what ssh left: the last line of stdout that looks like one, for login scripts may print too."""
    answers = [line for line in done.out.splitlines() if line.startswith(b"{")]
    said = last_line(done.err) or last_line(done.out)
    if done.code in NOT_FOUND:
        raise errors.NodePackage(why=f"cannot be started ({said})")
    if not answers:
        if done.code == UNREACHED:
            raise errors.Unreachable(host=host, why=said or "the connection was lost")
        raise errors.NodePackage(why=f"gave no answer and exit code {done.code} ({said or 'it said nothing'})")
    answer = Reply.from_json(answers[-1])
    if answer.error:
        raise errors.rebuilt(answer.error, answer.text)
    if done.code == UNREACHED:  # success was announced, but nobody knows what came after it
        raise errors.Unreachable(host=host, why=said or "the connection was lost")
    if done.code != 0:
        raise errors.NodePackage(why=f"ended with exit code {done.code} after its answer ({said})")
    if answer.version != __version__:
        raise errors.NodePackage(why=f"is version {answer.version}, the front-end is {__version__}")
    return answer


def last_line(text: bytes) -> str:
    """The last line with something in it, at most 120 characters: where ssh, a shell and Python give the reason."""
    lines = text.decode(errors="replace").split("\n")
    return errors.one_line(next((line for line in reversed(lines) if line.strip()), ""), 120).removeprefix("ssh: ")

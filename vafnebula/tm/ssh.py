"""One order to a node and its reply, over one ssh.

ssh is taken from PATH: OpenNebula puts a wrapper there that shares connections.  A copy may take hours, so there is no
time limit, but a silent node is given up after a minute; over a shared connection it is the keep-alive of the
connection's first user that counts, and OpenNebula's ssh configuration has one of 10 s.
"""

from __future__ import annotations

import shlex

from vafnebula import __version__, errors, process
from vafnebula.config import Site
from vafnebula.model import Order, Reply

NOT_FOUND = (126, 127)
UNREACHED = 255


def ask(host: str, order: Order, site: Site) -> Reply:
    """Have `host` carry out `order`.

    Raises what the node reports, Unreachable when ssh fails, NodePackage when the node's half cannot be started, is of
    another version or says something else than a reply.
    """
    try:
        done = process.run(command(host, site), timeout=None, input=order.to_json(), check=False)
    except errors.CommandFailed as e:
        raise errors.Unreachable(host=host, why=f"the program ssh cannot be started ({e.facts['why']})") from e
    return reply(host, done)


def command(host: str, site: Site) -> list[str]:
    """The argument list of ssh.  -I with a directory makes only that directory and the standard library importable."""
    package = shlex.quote(f"{site.remote_dir}/vafnebula")
    cache = '"pycache_prefix=$HOME/.cache/vafnebula"'
    remote = f"exec {shlex.quote(site.python)} -I -S -X {cache} {package}"
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": site.connect_timeout,
        "ServerAliveInterval": 15,
        "ServerAliveCountMax": 4,
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

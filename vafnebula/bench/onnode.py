"""A stopwatch on a node: programs run there one after the other, each timed from fork to exit, in one ssh.

The node half times its deed on the node too, so both see the same clock, the same interpreter and no network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from vafnebula import errors
from vafnebula.lab import Lab

PATIENCE = 1800.0  # seconds for all steps together

# Runs on the node as oneadmin or root: steps as JSON on stdin, what became of them as JSON on stdout.
STOPWATCH = """\
import json, os, subprocess, sys, time
os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ended = []
for step in json.load(sys.stdin):
    began = time.monotonic()
    done = subprocess.run(step["argv"], input=step["input"].encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit("%s: %s" % (" ".join(step["argv"][:4]), done.stderr.decode(errors="replace")[-500:]))
    ended.append({"seconds": seconds, "out": done.stdout.decode(errors="replace")})
print(json.dumps(ended))
"""


@dataclass(frozen=True)
class Step:
    """One program with its input."""

    argv: tuple[str, ...]
    input: str = ""


@dataclass(frozen=True)
class Ended:
    """What became of a step."""

    seconds: float
    out: str


def step(*argv: str, input: str = "") -> Step:
    return Step(argv, input)


def timed(lab: Lab, node: str, steps: Sequence[Step], user: str = "oneadmin") -> list[Ended]:
    """Run the steps on `node`, one after the other.  Raises CommandFailed naming the first that failed."""
    order = json.dumps([asdict(s) for s in steps]).encode()
    done = lab.ssh(node, ["python3", "-I", "-c", STOPWATCH], user=user, input=order, timeout=PATIENCE, check=False)
    if done.code != 0:
        raise errors.CommandFailed(program=f"a step on {node}", code=done.code, why=done.why)
    return [Ended(**one) for one in json.loads(done.out)]


def forget(lab: Lab, node: str, path: str) -> None:
    """Make the node forget the content of file `path`, so that a copy reads the datastore; programs stay in memory."""
    lab.sh(node, 'sync; dd if="$1" iflag=nocache count=0 status=none', path)


def deed_facts(lab: Lab, node: str, verb: str, vm: int, disk: int) -> dict[str, str]:
    """The facts that the node half logged for its last deed of that kind, e.g. {"seconds": "0.210", "cache": "hit"}."""
    wanted = f": {verb} vm={vm} disk={disk} "
    for _ in range(50):
        text = lab.sh(node, "cat /var/log/syslog.0 /var/log/syslog 2>/dev/null || :")
        found = [line for line in text.splitlines() if wanted in line and "seconds=" in line]
        if found:
            return dict(word.split("=", 1) for word in found[-1].split(wanted, 1)[1].split() if "=" in word)
        time.sleep(0.1)  # syslogd writes when it gets to it
    raise errors.CommandFailed(program="syslogd", code=1, why=f"{node} logged no {verb} of disk {disk} of VM {vm}")

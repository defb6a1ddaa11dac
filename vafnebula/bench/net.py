"""What isolation costs: to load, per frame, and before a VM starts.  In namespaces of this machine, as root.

    reconcile-1, -100, -1000   all filters in one transaction, beside one `nft -f` per VM
    frame-10, -100, -1000      one frame from guest to guest while so many other VMs are filtered on the node;
                               frame-1000 beside frame-10, and beside the linear rules of OpenNebula's old driver
    pre-hook                   the whole hook as the network driver runs it, by a user with sudo, beside a bare
                               `sudo -n nft -f -` of the same program

The linear rules are written by us after the documented behaviour of the `ebtables` driver (up to OpenNebula 6.10): two
rules per NIC in FORWARD, one for the class and one for the own MAC.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vafnebula import errors, process
from vafnebula.bench import onnode, record, rounds
from vafnebula.bench.onnode import Step
from vafnebula.bench.record import Record
from vafnebula.node.isolation import ebtables, mac, nft, nics, plan, spool, vmxml
from vafnebula.node.isolation.mac import Prefix
from vafnebula.node.isolation.nics import Nic
from vafnebula.node.isolation.settings import Settings

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 600.0
FRAMES = 300
OTHERS = (10, 100, 1000)
SITE = Settings()

# What OpenNebula's packages allow oneadmin on every node from 6.10 to 7.4 (alias ONE_NET), as far as pre needs it, but
# for a user that every machine has.  It holds in a mount namespace of the measurement.
OPENNEBULAS_SUDOERS = "nobody ALL=(root) NOPASSWD: /usr/sbin/nft\n"
AS_ONEADMIN = """
mount --bind "$1/sudoers" /etc/sudoers.d
exec setpriv --reuid nobody --regid nogroup --clear-groups /usr/bin/python3 -I -c "$2"
"""

# Runs in the sender's namespace: argv is the interface, the frame as hex and how often; prints seconds per frame.
SEND = """\
import os, socket, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
frame, often = bytes.fromhex(sys.argv[2]), int(sys.argv[3])
took = []
for _ in range(30):
    time.sleep(0.01)
    began = time.perf_counter()
    for _ in range(often): s.send(frame)
    took.append((time.perf_counter() - began) / often)
print(min(took))
"""


@dataclass(frozen=True)
class Node:
    """A namespace with a bridge, two guests of one cluster at one-1-0 and one-2-0, and the hooks as they are synced."""

    name: str
    remotes: Path

    def run(self, *argv: str, stdin: str = "", where: str = "hv") -> bytes:
        command = ["ip", "netns", "exec", f"{self.name}-{where}", *argv]
        home = {**os.environ, "HOME": str(self.remotes)}
        return process.run(command, input=stdin.encode(), timeout=PATIENCE, env=home).out

    def seconds(self, *argv: str, stdin: str = "") -> float:
        began = time.perf_counter()
        self.run(*argv, stdin=stdin)
        return time.perf_counter() - began

    def flush(self) -> None:
        self.run("nft", "flush", "ruleset")

    def remember(self, all_nics: list[Nic]) -> None:
        """What the hooks would have left in the state directory."""
        state = self.remotes / "state"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        shutil.chown(state, "nobody")
        for nic in all_nics:
            (state / nic.tap).write_text(spool.to_text(nic))

    def frame(self) -> float:
        """Seconds for one frame from guest 1 to guest 2, with 64 bytes of payload: the quickest of 30 bursts, because
        what else runs on the machine is not the rules' doing."""
        frame = bytes.fromhex(f"{own(2):012x}{own(1):012x}0800") + bytes(64)
        out = self.run("/usr/bin/python3", "-c", SEND, "eth0", frame.hex(), str(FRAMES), where="g1")
        return float(out)


def own(vm: int) -> int:
    """The MAC of VM `vm`: clusters of 250."""
    return 0x0200AC000000 | vm // 250 << 8 | vm % 250 + 1


def nic(vm: int) -> Nic:
    """The NIC of VM `vm`, with a class and two white-listed services."""
    classes = (Prefix(own(vm) & ~0xFF, 40), Prefix(0x525400000AFE), Prefix(0x525400000A10))
    return Nic(vm, 0, own(vm), "br0", (Prefix(own(vm)),), mac.merged(classes))


def program(*vms: int) -> str:
    return nft.program(tuple(plan.make(nic(v), SITE) for v in vms))


def linear(vms: range) -> str:
    """The old driver's rules for `vms`, as an ebtables-restore program."""
    rules = [
        line
        for v in vms
        for line in (
            f"-A FORWARD -s ! {mac.text(own(v) & ~0xFF)}/ff:ff:ff:ff:ff:00 -o one-{v}-0 -j DROP",
            f"-A FORWARD -s ! {mac.text(own(v))} -i one-{v}-0 -j DROP",
        )
    ]
    return "\n".join(["*filter", *rules, "COMMIT"]) + "\n"


@contextlib.contextmanager
def node() -> Iterator[Node]:
    """Made, and gone again whatever happens.  Raises BadArgument when we are not root."""
    if os.geteuid() != 0:
        raise errors.BadArgument(what="user", value=os.geteuid(), why="network namespaces need root")
    with tempfile.TemporaryDirectory(prefix="vafnebula-bench-") as directory:
        made = Node(f"vafb{os.getpid()}", Path(directory))
        _install(made.remotes)
        spaces = [f"{made.name}-{n}" for n in ("hv", "g1", "g2")]
        try:
            for space in spaces:
                process.run(["ip", "netns", "add", space], timeout=PATIENCE)
            made.run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
            made.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
            made.run("ip", "link", "set", "br0", "up")
            for vm in (1, 2):
                peer = ["peer", "name", "eth0", "address", mac.text(own(vm)), "netns", f"{made.name}-g{vm}"]
                made.run("ip", "link", "add", f"one-{vm}-0", "type", "veth", *peer)
                made.run("ip", "link", "set", f"one-{vm}-0", "master", "br0", "up")
                made.run("ip", "link", "set", "eth0", "up", where=f"g{vm}")
            yield made
        finally:
            for space in spaces:
                process.run(["ip", "netns", "del", space], timeout=PATIENCE, check=False)


def _install(remotes: Path) -> None:
    home = remotes / "vafnebula"
    home.mkdir()
    for name in ("python", "net"):
        shutil.copy(CHECKOUT / "mads/vafnebula" / name, home / name)
    (home / "vafnebula").symlink_to(CHECKOUT / "vafnebula")
    shutil.copytree(CHECKOUT / "hooks/vnm", remotes / "vnm/bridge")
    site = remotes / "etc/vafnebula/vafnebula.conf"
    site.parent.mkdir(parents=True)
    site.write_text(f"[net]\nstate_dir = {remotes}/state\n")
    rules = remotes / "sudoers/vafnebula-bench"
    rules.parent.mkdir(mode=0o755)
    rules.write_text(OPENNEBULAS_SUDOERS)
    rules.chmod(0o440)
    shutil.chown(remotes, "nobody")


def run(times: int = 5, tell: Callable[[str], None] = lambda _: None) -> list[Record]:
    """All measurements, `times` rounds each (one by one with 1000 VMs: one round, it takes half a minute)."""
    with node() as n:
        return [*_loads(n, times, tell), *_frames(n, 3 * times, tell), *_hook(n, 8 * times, tell)]


def _loads(n: Node, times: int, tell: Callable[[str], None]) -> list[Record]:
    out = []
    for count in (1, 100, 1000):
        vms = range(1, count + 1)
        n.remember([nic(v) for v in vms])

        def at_once() -> float:
            n.flush()
            return n.seconds(str(n.remotes / "vafnebula/net"), "reconcile")

        def one_by_one(vms: range = vms) -> float:
            n.flush()
            return sum(n.seconds("nft", "-f", "-", stdin=program(v)) for v in vms)

        often = 1 if count == 1000 else times
        tell(f"loading {count} VMs")
        took = rounds.alternate(often, {"at once": at_once, "one by one": one_by_one}, tell)
        case = f"{count} VMs in one transaction"
        out.append(record.plain(f"reconcile-{count}", f"{case}: `net reconcile`", "s", took["at once"]))
        out.append(record.plain(f"reconcile-{count}", f"{count} VMs, one `nft -f` each", "s", took["one by one"]))
        goal = 0.05 if count == 1000 else None
        ratio = record.ratio(
            f"reconcile-{count}", case, "ratio to one by one", took["at once"], took["one by one"], goal
        )
        out.append(ratio)
    n.remember([])
    return out


def _frames(n: Node, times: int, tell: Callable[[str], None]) -> list[Record]:
    def with_nft(others: int) -> float:
        n.flush()
        n.run("nft", "-f", "-", stdin=program(*range(1, others + 3)))
        return n.frame()

    def with_linear(others: int) -> float:
        n.flush()
        n.run(ebtables.RESTORE, "--noflush", stdin=linear(range(others + 2, 0, -1)))
        return n.frame()

    def with_none() -> float:
        n.flush()
        return n.frame()

    n.frame()  # the bridge learns both
    cases: dict[str, rounds.Case] = {"none": with_none}
    for others in OTHERS:
        cases[f"nft {others}"] = lambda others=others: with_nft(others)  # type: ignore[misc]
        cases[f"linear {others}"] = lambda others=others: with_linear(others)  # type: ignore[misc]
    took = rounds.alternate(times, cases, tell)
    n.flush()

    def micro(name: str) -> list[float]:
        return [1e6 * s for s in took[name]]

    out = [record.plain("frame-0", "no rules at all", "µs", micro("none"))]
    for others in OTHERS:
        out.append(record.plain(f"frame-{others}", f"{others} other VMs", "µs", micro(f"nft {others}")))
        out.append(
            record.plain(f"frame-{others}", f"{others} other VMs, linear rules", "µs", micro(f"linear {others}"))
        )
    most = OTHERS[-1]
    ours, least, old = took[f"nft {most}"], took[f"nft {OTHERS[0]}"], took[f"linear {most}"]
    out.append(record.ratio(f"frame-{most}", f"{most} other VMs", f"ratio to frame-{OTHERS[0]}", ours, least, 1.3))
    out.append(record.ratio(f"frame-{most}", f"{most} other VMs", "ratio to linear rules", ours, old, 0.2))
    return out


def _hook(n: Node, times: int, tell: Callable[[str], None]) -> list[Record]:
    stub = str(n.remotes / "vnm/bridge/pre.d/50-vafnebula")
    xml = (
        "<VM><ID>7</ID><TEMPLATE><NIC><NIC_ID>0</NIC_ID><BRIDGE>br0</BRIDGE><VN_MAD>bridge</VN_MAD>"
        f"<TARGET>one-7-0</TARGET><MAC>{mac.text(own(7))}</MAC>"
        "<VAF_EXTRA_MACS>52:54:00:00:0a:fe,52:54:00:00:0a:10</VAF_EXTRA_MACS></NIC></TEMPLATE></VM>"
    )
    chosen = nics.select(vmxml.parse(xml.encode()), SITE, driver="bridge", allowed=None)
    same = nft.program(tuple(plan.make(c, SITE) for c in chosen.nics))
    hook = onnode.step(stub, input=base64.b64encode(xml.encode()).decode())
    bare = onnode.step("sudo", "-n", "nft", "-f", "-", input=same)
    out = []
    for others in (0, 100):
        n.flush()
        if others:
            n.run("nft", "-f", "-", stdin=program(*range(1000, 1000 + others)))
        _timed(n, [hook, bare])  # bytecode and page cache
        tell(f"pre with {others} other VMs")
        took, beside = (list(x) for x in zip(*_timed(n, [hook, bare] * times)))
        case = f"a VM with one NIC, {others} others on the node"
        out.append(record.plain("pre-hook", f"{case}: the hook", "ms", took))
        out.append(record.plain("pre-hook", f"{case}: `sudo -n nft -f -`", "ms", beside))
        out.append(record.ratio("pre-hook", case, "ratio to nft -f", took, beside, 3.0))
    n.flush()
    return out


def _timed(n: Node, steps: list[Step]) -> list[tuple[float, ...]]:
    """Milliseconds of the steps, run in turn by an unprivileged user, in pairs."""
    order = json.dumps([asdict(s) for s in steps])
    out = n.run("sh", "-euc", AS_ONEADMIN, "sh", str(n.remotes), onnode.STOPWATCH, stdin=order)
    took = [1e3 * float(e["seconds"]) for e in json.loads(out)]
    return list(zip(took[::2], took[1::2]))

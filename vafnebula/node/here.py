"""What stubs on a node ask of that node itself, without a front-end: `python -I -S here.py VERB REMOTES ARGUMENTS`.

The site file is the one that `onehost sync` brought along.
"""

import sys

sys.path.insert(0, __file__.rsplit("/", 3)[0])

ROOT = "/var/lib/one/datastores"


def main(verb: str, remotes: str, *arguments: str) -> str:
    """What to print.  Raises errors.Error."""
    from vafnebula import __version__, config, errors, names
    from vafnebula.model import Order
    from vafnebula.model_moves import Activate
    from vafnebula.node import lvm, signals
    from vafnebula.node import main as half
    from vafnebula.node.host import Host
    from vafnebula.node.probes import disks

    site = config.load(f"{remotes}/etc/vafnebula/vafnebula.conf")
    if verb == "monitor_ds" and len(arguments) == 1:
        sds = names.identifier("datastore", arguments[0].rstrip("/").rpartition("/")[2])
        return disks.lines(lvm.group(Host(), names.vg(sds)).volumes)
    if verb != "activate" or len(arguments) > 1:
        raise errors.BadArgument(what="arguments", value=" ".join(arguments), why="see the head of the script")
    signals.install()
    order = Order(__version__, Activate(-1, -1, (arguments or (ROOT,))[0]), site.default)
    reply = half.answer(order.to_json(), Host())
    if reply.error:
        raise errors.rebuilt(reply.error, reply.text)
    return ""


def run() -> int:
    verb = sys.argv[1] if len(sys.argv) > 1 else "here"
    try:
        sys.stdout.write(main(*sys.argv[1:]))
    except Exception as e:  # noqa: BLE001  the one place where everything ends: one line, whatever it is
        sys.stderr.write(f"{verb}: {' '.join(str(e).split())[:200]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())

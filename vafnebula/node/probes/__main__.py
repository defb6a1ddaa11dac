"""What the stubs in mads/im start: `python -I -S .../probes/__main__.py PROBE REMOTES`."""

import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0])

from vafnebula.node.probes import probe

probe.main(sys.argv[1], sys.argv[2])

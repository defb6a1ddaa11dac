"""What the stubs start: `python -I -S .../isolation/__main__.py VERB ...`, so that nothing but the directory above our
package and the standard library can be imported.  Small, because Python keeps no bytecode of this file."""

import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0])

if sys.argv[1] in ("pre", "post", "clean"):
    from vafnebula.node.isolation.hook import exit_with, main

    exit_with(main(sys.argv[1:]))

from vafnebula.node.isolation.tools import main as tools

sys.exit(tools(sys.argv[1:]))

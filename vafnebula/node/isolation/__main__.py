"""What the hooks' stubs start: `python -I -S .../isolation/__main__.py VERB STUB ARGUMENTS`, so that nothing but the
directory above our package and the standard library can be imported.  Small: Python keeps no bytecode of this file."""

import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0])

from vafnebula.node.isolation.hook import exit_with, main

exit_with(main(sys.argv[1:]))

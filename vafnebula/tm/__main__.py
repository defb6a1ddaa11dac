"""What the stubs start: `python -I -S .../vafnebula/tm/__main__.py STUB ARGUMENTS`, so that nothing but the directory
above our package and the standard library can be imported.  Small, because Python keeps no bytecode of this file."""

import sys

sys.path.insert(0, __file__.rsplit("/", 3)[0])

from vafnebula.tm.main import main

sys.exit(main(sys.argv[1:]))

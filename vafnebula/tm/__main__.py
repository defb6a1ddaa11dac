"""What the stubs start: `python -I -S .../vafnebula/tm/__main__.py STUB ARGUMENTS`, so that nothing but the directory
above our package and the standard library can be imported.  Small, because Python keeps no bytecode of this file."""

import sys

sys.path.insert(0, __file__.rsplit("/", 3)[0])

try:
    from vafnebula.tm.main import main
except Exception as e:  # noqa: BLE001  files missing, or a Python that is too old to read them: still one line
    what = getattr(e, "name", "") or getattr(e, "msg", "")
    sys.exit(f"vafnebula cannot be started ({type(e).__name__} {what}); run its installer again")

sys.exit(main(sys.argv[1:]))

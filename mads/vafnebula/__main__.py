"""The node half: `python3 /var/tmp/one/vafnebula`, one JSON request on stdin, one reply on stdout."""

import sys

from vafnebula.node import main

sys.exit(main.main())

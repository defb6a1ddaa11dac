from __future__ import annotations

import os
import signal

from hypothesis import settings

# No test asserts a time, and a loaded machine is no reason to fail.  In CI the same examples are tried every time.
settings.register_profile("vafnebula", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("vafnebula")

# What a shell starts in the background ignores SIGINT, and so do its children, which some tests want to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from __future__ import annotations

import signal

from hypothesis import settings

# No test asserts a time, and a loaded machine is no reason to fail.
settings.register_profile("vafnebula", deadline=None)
settings.load_profile("vafnebula")

# What a shell starts in the background ignores SIGINT, and so do its children, which some tests want to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

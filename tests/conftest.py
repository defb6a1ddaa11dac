from __future__ import annotations

from hypothesis import settings

# No test asserts a time, and a loaded machine is no reason to fail.
settings.register_profile("vafnebula", deadline=None)
settings.load_profile("vafnebula")

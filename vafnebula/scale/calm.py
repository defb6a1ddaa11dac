"""A cycle without the garbage collector.

Reading a large queue makes hundreds of thousands of objects and no circles; the collector would walk all of them again
and again, which is a third of the time of reading TORQUE's XML.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Collect nothing inside; afterwards all is as it was."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()

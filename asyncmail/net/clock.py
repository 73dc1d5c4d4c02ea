"""The clock by which deadlines are meant."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Final

__all__ = ["NEVER", "now"]

NEVER: Final = math.inf
"""A deadline that does not come."""


def now() -> float:
    """Return the time, in seconds, on the monotonic clock of the running event loop.

    The clocks of Trio and asyncio have nothing to do with each other, and uvloop's stands still between two rounds.

    There is none in a thread of its own, such as a worker thread: a deadline there means nothing to an event loop.

    Raises:
        RuntimeError: no event loop runs in this thread.
    """
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        if "trio" not in sys.modules:  # what was never imported does not run
            raise
        import trio

        return trio.current_time()

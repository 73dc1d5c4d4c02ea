"""The clock by which deadlines are meant."""

from __future__ import annotations

import asyncio
import math
from typing import Final

__all__ = ["NEVER", "now"]

NEVER: Final = math.inf
"""A deadline that does not come."""


def now() -> float:
    """Return the time, in seconds, on the monotonic clock of the running event loop.

    The clocks of Trio and asyncio have nothing to do with each other, and uvloop's stands still between two rounds.

    Raises:
        RuntimeError: called outside asyncio and Trio.
    """
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        import trio

        return trio.current_time()

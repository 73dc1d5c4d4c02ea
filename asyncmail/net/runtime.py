"""On which event loop this code runs."""

from __future__ import annotations

import asyncio

__all__ = ["running_loop"]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running loop of asyncio, or None on Trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

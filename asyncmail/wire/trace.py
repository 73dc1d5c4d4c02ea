"""Transcripts: what a protocol object tells of a session, one printable line at a time, secrets replaced."""

from __future__ import annotations

import enum
from collections.abc import Callable

__all__ = ["Direction", "Trace"]


class Direction(enum.Enum):
    """Which way a traced line went, seen from this end."""

    SENT = "sent"
    RECEIVED = "received"


Trace = Callable[[Direction, str], None]
"""Called with each line of a session, without its line ending; secrets and content have been replaced."""

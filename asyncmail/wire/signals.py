"""What a protocol object answers when it has no event to give."""

from __future__ import annotations

import enum

__all__ = ["Signal"]


class Signal(enum.Enum):
    """Why `next_event()` returned no event."""

    NEED_DATA = "need data"  # nothing more can be read off the octets received so far
    PAUSED = "paused"  # the event before this one has to be answered first

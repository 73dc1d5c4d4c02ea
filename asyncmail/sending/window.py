"""How many messages a connection may have under way: told how long answers take, it says a number, without a clock."""

from __future__ import annotations

import math

__all__ = ["FIRST_WINDOW", "Window"]

# Messages that a new connection takes at first: what waits is shared among connections, and what one may leave in
# doubt when it breaks is little until it has shown its worth.
FIRST_WINDOW = 4

_LEAST = 2  # one that the server works on, and one that it finds when it is done
_SHORT = 0.1  # seconds that a message may always be under way
_PATIENCE = 2.0  # of these times the quickest answer


class Window:
    """Opens as the server answers, and narrows where messages do no more than wait in line at it.

    A server sees to one message of a session after the other. The quickest answer tells how long the way to it and
    back takes, and one message; while twice that is under way it always finds another one when it is done. More gain
    nothing: what is sent later waits behind them, and a connection that breaks leaves all of them in doubt.

    Args:
        most: the size that it may have.
    """

    __slots__ = ("_most", "_outdated", "_quickest", "_widens_slowly", "_width")

    def __init__(self, most: int) -> None:
        self._most = most
        self._width: float = min(FIRST_WINDOW, most)
        self._widens_slowly = False  # having been too wide
        self._quickest = math.inf  # seconds
        self._outdated = 0  # answers to come to what was begun before it was narrowed

    def __repr__(self) -> str:
        return f"<Window of {self.size}>"

    @property
    def size(self) -> int:
        """So many messages may be without an answer at the same time."""
        return int(self._width)

    def answered(self, messages: int, seconds: float) -> None:
        """Note that so many messages have been answered at a time, the last of them so long after it was begun."""
        if seconds < self._quickest:
            self._quickest = seconds
        if self._outdated > 0:
            self._outdated -= messages
            return
        limit = max(_PATIENCE * self._quickest, _SHORT)
        if seconds <= limit:
            more = messages / self._width if self._widens_slowly else messages
            self._width = min(self._width + more, self._most)
        elif self._width > _LEAST:
            self._outdated = self.size
            self._width = max(self._width * limit / seconds, _LEAST)
            self._widens_slowly = True

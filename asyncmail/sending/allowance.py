"""How many connections a server seems to take: told what happened, it says a number, without clock or network."""

from __future__ import annotations

__all__ = ["Allowance"]

_SOONEST = 16
_LATEST = 1024


class Allowance:
    """Additive increase, multiplicative decrease.

    A connection that is refused shows how many the server takes: those that are left. A complaint on a connection that
    was of use halves the number. One more is tried when so many messages have been answered; after an attempt that
    failed, it takes four times as many, after one that held, half as many.

    Args:
        most: connections that there may be at all; as many are allowed until the server says otherwise.
    """

    __slots__ = ("_has_grown", "_interval", "_left", "_most", "_outdated", "connections")

    def __init__(self, most: int) -> None:
        self.connections: int = most
        """So many are allowed now; at least 1."""
        self._most = most
        self._interval = _SOONEST  # messages from one attempt to grow to the next
        self._left = _SOONEST  # of them
        self._has_grown = False  # since the number last shrank
        self._outdated = 0  # answers to come to what was sent before the last complaint

    def __repr__(self) -> str:
        return f"<Allowance {self.connections} of {self._most} connections>"

    def refused(self, others: int) -> None:
        """Note that a connection was refused, or of no use, while there were `others`."""
        self._shrink(others)

    def complained(self, connections: int, under_way: int) -> bool:
        """Note that the server complained of too much on one of so many connections.

        Returns:
            False if that is no news: it complained before, and answers to what was sent until then are still coming.
        """
        if self._outdated:
            return False
        self._outdated = under_way
        self._shrink(connections // 2)
        return True

    def answered(self, messages: int, connections: int) -> bool:
        """Note that so many messages have been answered while there were so many connections.

        Returns:
            Whether one more is allowed now.
        """
        if self._outdated:
            self._outdated = max(self._outdated - messages, 0)
            return False
        # What is not made use of says nothing of whether more would do.
        if connections < self.connections or self.connections == self._most:
            return False
        self._left -= messages
        if self._left > 0:
            return False
        self.connections += 1
        self._interval = max(self._interval // 2, _SOONEST) if self._has_grown else self._interval
        self._left = self._interval
        self._has_grown = True
        return True

    def _shrink(self, connections: int) -> None:
        # However many say so at the same time, it is one lesson.
        if self._has_grown:
            self._interval = min(4 * self._interval, _LATEST)
            self._has_grown = False
        self._left = self._interval
        self.connections = max(min(self.connections, connections), 1)

"""The receive buffer: octets that arrived and were not read yet."""

from __future__ import annotations

from ..errors import LimitExceeded

__all__ = ["ReceiveBuffer"]

# Octets already read are dropped together once they are this many: one move of the rest pays for many lines.
_COMPACT_AT = 65_536


class ReceiveBuffer:
    """A queue of lines that is searched from where the last search ended.

    Reading moves an offset; the octets before it are dropped in one go when the buffer runs empty, or when there are
    many of them, so the cost per octet stays constant whatever the segment and line sizes.
    """

    __slots__ = ("_data", "_scanned", "_start")

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0
        self._scanned = 0  # no LF is in the unread octets before this

    def __len__(self) -> int:
        return len(self._data) - self._start

    def __repr__(self) -> str:
        return f"<ReceiveBuffer {len(self)} octets>"

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Add octets at the end."""
        self._data += data

    def clear(self) -> None:
        """Forget everything."""
        self._data.clear()
        self._start = self._scanned = 0

    def take_line(self, limit: int, limit_name: str) -> bytes | None:
        """Take the next line, its line ending included.

        Args:
            limit: the most octets a line may have, its ending included.
            limit_name: the name of that limit, for the error.

        Returns:
            The line up to and including its LF, or None while it is incomplete.

        Raises:
            LimitExceeded: the line is longer than `limit`, complete or not.
        """
        data = self._data
        start = self._start
        end = self._find_newline() + 1
        if not end:
            if len(data) - start > limit:
                raise LimitExceeded(limit_name, limit)
            return None
        if end - start > limit:
            raise LimitExceeded(limit_name, limit)
        line = bytes(data[start:end])
        self._consume(end)
        return line

    def skip_line(self) -> bool:
        """Drop octets up to and including the next LF; False, with everything dropped, if there is none yet."""
        end = self._find_newline() + 1
        if not end:
            self.clear()
            return False
        self._consume(end)
        return True

    def _find_newline(self) -> int:
        """Index of the next LF, or -1."""
        found = self._data.find(b"\n", self._scanned)
        self._scanned = found if found >= 0 else len(self._data)
        return found

    def _consume(self, end: int) -> None:
        if end == len(self._data):
            self._data.clear()
            self._start = self._scanned = 0
        elif end >= _COMPACT_AT:
            del self._data[:end]
            self._start = self._scanned = 0
        else:
            self._start = self._scanned = end

"""The receive buffer: octets that arrived and were not read yet."""

from __future__ import annotations

from ..errors import LimitExceeded

__all__ = ["ReceiveBuffer"]

# Octets already read are dropped together once they are this many: one move of the rest pays for many lines.
_COMPACT_AT = 65_536


class ReceiveBuffer:
    """A byte queue that is searched from where the last search ended.

    Reading moves an offset; the octets before it are dropped in one go when the buffer runs empty, or when there are
    many of them, so the cost per octet stays constant whatever the segment and line sizes.
    """

    __slots__ = ("_data", "_scanned", "_sought", "_start")

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0
        self._sought = b""  # what the last search was for; it is not in the octets before `_scanned`
        self._scanned = 0

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
        end = self._search(b"\n") + 1
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
        end = self._search(b"\n") + 1
        if not end:
            self.clear()
            return False
        self._consume(end)
        return True

    def take(self, most: int) -> bytes:
        """Take up to `most` octets."""
        end = min(self._start + most, len(self._data))
        with memoryview(self._data) as view:
            chunk = bytes(view[self._start : end])
        self._consume(end)
        return chunk

    def skip(self, count: int) -> None:
        """Drop `count` octets, which must be there."""
        self._consume(self._start + count)

    def starts_with(self, prefix: bytes) -> bool:
        """Whether the unread octets begin with `prefix`."""
        return self._data.startswith(prefix, self._start)

    def find(self, separator: bytes) -> int:
        """Offset of `separator` in the unread octets, or -1; what was searched before is not searched again."""
        return max(self._search(separator) - self._start, -1)

    def last(self, count: int) -> bytes:
        """The last `count` unread octets, not taken."""
        return bytes(self._data[max(self._start, len(self._data) - count) :])

    def _search(self, separator: bytes) -> int:
        """Index of `separator`, or -1."""
        if separator != self._sought:
            self._sought = separator
            self._scanned = self._start
        found = self._data.find(separator, self._scanned)
        # All but its last octet may have arrived.
        self._scanned = found if found >= 0 else max(self._start, len(self._data) - len(separator) + 1)
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

"""The part of a message that TOP asks for."""

from __future__ import annotations

__all__ = ["Excerpt"]


class Excerpt:
    """Takes the header, the blank line behind it, and so many lines of the body off content that comes in pieces.

    Args:
        lines: of the body.

    RFC 1939 §7
    """

    __slots__ = ("_in_header", "_lines", "_tail", "is_complete")

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._in_header = True
        self._tail = b"\r\n"  # of what came before; a message may begin with the blank line
        self.is_complete: bool = False
        """Whether what follows is not asked for."""

    def take(self, piece: bytes) -> bytes:
        """Return as much of `piece` as belongs to the excerpt."""
        if self.is_complete:
            return b""
        position = 0
        if self._in_header:
            searched = self._tail + piece
            found = searched.find(b"\r\n\r\n")
            if found < 0:
                self._tail = searched[-3:]
                return piece
            self._in_header = False
            position = found + 4 - len(self._tail)
        available = piece.count(b"\n", position)
        if available < self._lines:
            self._lines -= available
            return piece
        for _ in range(self._lines):
            position = piece.find(b"\n", position) + 1
        self.is_complete = True
        return piece[:position]

"""Transparency: dot-stuffing and its reverse (RFC 5321 §4.5.2, RFC 1939 §3), a segment at a time.

The end of content is the five octets CRLF . CRLF and nothing else; the CRLF may be that of the line before, or the
one of the command, so content that begins with `.CRLF` is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .buffer import ReceiveBuffer

__all__ = ["DotStuffer", "DotUnstuffer"]

_TERMINATOR = b"\r\n.\r\n"


class DotStuffer:
    """Encodes content, given in chunks of any size, whose lines end in CRLF."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def encode(self, chunk: bytes) -> bytes:
        """Return the octets to send for `chunk`: the same object where nothing needs stuffing."""
        if not chunk:
            return chunk
        encoded = chunk.replace(b"\r\n.", b"\r\n..")
        if chunk[0] == 0x2E and self._tail == b"\r\n":
            encoded = b"." + encoded
        elif chunk.startswith(b"\n.") and self._tail[-1:] == b"\r":
            encoded = b"\n." + encoded[1:]
        self._tail = chunk[-2:] if len(chunk) > 1 else self._tail[-1:] + chunk
        return encoded

    def finish(self) -> bytes:
        """Return the end of content, with the CRLF before it if the content lacks one."""
        return b".\r\n" if self._tail == b"\r\n" else _TERMINATOR


class DotUnstuffer:
    """Decodes content out of a receive buffer; `finished` once its end was taken."""

    __slots__ = ("_at_line_start", "finished")

    def __init__(self) -> None:
        self._at_line_start = True
        self.finished: bool = False

    def take(self, buffer: ReceiveBuffer) -> bytes:
        """Take what can be decoded now.

        Returns:
            The next octets of content; it ends neither between CR and LF nor, unless content itself ends there,
            where an end of content might begin. Empty if more data is needed, or if content ended.
        """
        if self._at_line_start:
            if buffer.starts_with(b".\r\n"):
                buffer.skip(3)
                self.finished = True
                return b""
            if len(buffer) < 3 and b".\r\n".startswith(buffer.last(3)):
                return b""
        found = buffer.find(_TERMINATOR)
        if found >= 0:
            content = self._unstuff(buffer.take(found + 2))
            buffer.skip(3)
            self.finished = True
            return content
        held = _possible_terminator(buffer.last(4))
        content = self._unstuff(buffer.take(len(buffer) - held))
        return content

    def _unstuff(self, content: bytes) -> bytes:
        if not content:
            return content
        unstuffed = content.replace(b"\r\n.", b"\r\n")
        if self._at_line_start and content[0] == 0x2E:
            unstuffed = unstuffed[1:]
        self._at_line_start = content.endswith(b"\r\n")
        return unstuffed


def _possible_terminator(tail: bytes) -> int:
    """How many octets at the end of `tail` may turn out to begin the end of content."""
    return next((n for n in range(len(tail), 0, -1) if _TERMINATOR.startswith(tail[-n:])), 0)

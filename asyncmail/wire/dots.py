"""Transparency: dot-stuffing and its reverse (RFC 5321 §4.5.2, RFC 1939 §3), a segment at a time.

The end of content is the five octets CRLF . CRLF and nothing else; the CRLF may be that of the line before, or the
one of the command, so content that begins with `.CRLF` is empty.
"""

from __future__ import annotations

__all__ = ["DotStuffer", "DotUnstuffer", "find_dot_line", "stuff"]

_TERMINATOR = b"\r\n.\r\n"
_WINDOW = 256  # octets to begin with: see `find_dot_line`


def find_dot_line(data: bytes, start: int) -> int:
    """Offset of the first CRLF at or behind `start` that a dot follows, or -1.

    One octet is searched for tens of times as fast as three, and encoded content has no dots; where there are some,
    ever larger parts are searched for all three.
    """
    window = _WINDOW
    stop = start + window
    while (found := data.find(b"\r\n.", start, stop)) < 0:
        dot = data.find(b".", stop)
        if dot < 0:
            break
        start = dot - 2
        window *= 2
        stop = dot + window
    return found


def stuff(content: bytes) -> tuple[bytes, ...]:
    """Return a whole content dot-stuffed, the same object where nothing needs it, and the end of content behind it."""
    if not content:
        return (b".\r\n",)
    encoded = content if find_dot_line(content, 0) < 0 else content.replace(b"\r\n.", b"\r\n..")
    if content[0] == 0x2E:
        encoded = b"." + encoded
    return encoded, b".\r\n" if content.endswith(b"\r\n") else _TERMINATOR


class DotStuffer:
    """Encodes contents, one after the other, given in chunks of any size, whose lines end in CRLF."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def encode(self, chunk: bytes) -> bytes:
        """Return the octets to send for `chunk`: the same object where nothing needs stuffing."""
        if not chunk:
            return b""
        # Of a bytearray, a copy: its owner may use it again.
        encoded = bytes(chunk) if find_dot_line(chunk, 0) < 0 else chunk.replace(b"\r\n.", b"\r\n..")
        first = chunk[0]
        if first == 0x2E:
            if self._tail == b"\r\n":
                encoded = b"." + encoded
        elif first == 0x0A and chunk.startswith(b"\n.") and self._tail[-1:] == b"\r":
            encoded = b"\n." + encoded[1:]
        self._tail = chunk[-2:] if len(chunk) > 1 else self._tail[-1:] + chunk
        return encoded

    def finish(self) -> bytes:
        """Return the end of content, with the CRLF before it if the content lacks one."""
        if self._tail == b"\r\n":
            return b".\r\n"
        self._tail = b"\r\n"
        return _TERMINATOR


class DotUnstuffer:
    """Decodes content out of what was received; `finished` once its end was taken."""

    __slots__ = ("_at_start", "finished")

    def __init__(self) -> None:
        self._at_start = True
        self.finished: bool = False

    def take(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Take what can be decoded now.

        Args:
            data: what was received; what the last call did not take comes first.
            start: where in `data` to begin.

        Returns:
            The next octets of content, and the offset behind what was taken. They end neither between CR and LF nor,
            unless content itself ends there, where an end of content might begin. Without any, more data is needed, or
            content has ended.
        """
        if self._at_start and data.startswith(b".", start):  # the CRLF in front of it was that of the command
            line = data[start : start + 3]
            if line == b".\r\n":
                self.finished = True
                return b"", start + 3
            if b".\r\n".startswith(line):
                return b"", start
            start += 1
        dot_line = find_dot_line(data, start)
        if dot_line >= 0 and data.startswith(b"\r\n", dot_line + 3):
            self.finished = True
            return data[start : dot_line + 2], dot_line + 5
        end = -1 if dot_line < 0 else data.find(_TERMINATOR, dot_line)
        if end >= 0:
            self.finished = True
            stop, rest = end + 2, end + 5
        else:
            stop = rest = len(data) - _possible_terminator(data[max(start, len(data) - 4) :])
        content = data[start:stop]
        if content:
            self._at_start = False
        return (content if dot_line < 0 else content.replace(b"\r\n.", b"\r\n")), rest


def _possible_terminator(tail: bytes) -> int:
    """How many octets at the end of `tail` may turn out to begin the end of content."""
    return next((n for n in range(len(tail), 0, -1) if _TERMINATOR.startswith(tail[-n:])), 0)

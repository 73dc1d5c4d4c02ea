"""Line endings: CRLF and nothing else (RFC 5321 §2.3.8).

Two parties that see the end of a line, and so the end of a message, at different octets can be played against each
other ("SMTP smuggling"). A server's policy on bare CR and bare LF and a client's repair of them are decided here.
"""

from __future__ import annotations

import enum

__all__ = ["BareNewlines", "NewlineNormalizer", "has_bare_newline", "normalize_newlines"]

_STRETCH = 65_536  # octets


class BareNewlines(enum.Enum):
    """What a server does with content that holds CR or LF outside of CRLF."""

    REJECT = "reject"  # read it to its end, then refuse it
    NORMALIZE = "normalize"  # make CRLF of each


def has_bare_newline(data: bytes) -> bool:
    """Whether `data` holds a CR or LF that is not part of CRLF."""
    if len(data) <= _STRETCH:
        return _has_bare_newline(data)
    start = 0
    while start < len(data):
        end = start + _STRETCH
        if data[end - 1 : end] == b"\r":  # to be looked at with what follows it
            end += 1
        if _has_bare_newline(data[start:end]):
            return True
        start = end
    return False


def _has_bare_newline(data: bytes) -> bool:
    # A copy takes half the time of counting, as long as it stays in the processor's cache.
    whole_lines = b"\r\n".join(data.splitlines())
    return not data.startswith(whole_lines) or data[len(whole_lines) :] not in (b"", b"\r\n")


def normalize_newlines(data: bytes) -> bytes:
    """Return `data` with each bare CR and each bare LF made CRLF; the same object if there are none."""
    return _repaired(data) if has_bare_newline(data) else data


def _repaired(data: bytes) -> bytes:
    # A sixth of the time of one regular expression, and no object for each line.
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


class NewlineNormalizer:
    """`normalize_newlines` for content that comes in chunks; `repaired` once it found something to do."""

    __slots__ = ("_held", "repaired")

    def __init__(self) -> None:
        self._held = b""
        self.repaired: bool = False

    def feed(self, chunk: bytes) -> bytes:
        """Return the next octets; a CR at the very end is held until it is known what follows."""
        data = self._held + chunk if self._held else chunk
        self._held = b"\r" if data.endswith(b"\r") else b""
        if self._held:
            data = data[:-1]
        if not has_bare_newline(data):
            return data
        self.repaired = True
        return _repaired(data)

    def finish(self) -> bytes:
        """Return what was held."""
        if not self._held:
            return b""
        self._held = b""
        self.repaired = True
        return b"\r\n"

"""POP3 responses: status indicator, response code, text (RFC 1939 §3, RFC 2449 §8)."""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass

from ..errors import InputError, RemoteProtocolError, printable, quoted
from ..wire import encode_argument

__all__ = ["Response", "ResponseCode", "Status", "parse_response"]

# Nothing but a blank may follow the indicator, or lines of content that begin with "+" would pass.
_LINE = re.compile(rb"(\+OK|-ERR|\+)(?:[ \t]+([^\r\n]*))?\r?\n", re.IGNORECASE)
_CODE = re.compile(r"\[([A-Z][A-Z0-9-]*(?:/[A-Z0-9-]+)*)\](?: +|$)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 510  # a response line has 512 octets, its CRLF included (RFC 2449 §4)


class Status(enum.Enum):
    """The status indicator (RFC 1939 §3), and the mark of a SASL challenge (RFC 5034 §4)."""

    OK = "+OK"
    ERR = "-ERR"
    CHALLENGE = "+"


class ResponseCode(enum.StrEnum):
    """The response codes that are registered."""

    IN_USE = "IN-USE"  # another session has the maildrop (RFC 2449 §8.1.2)
    LOGIN_DELAY = "LOGIN-DELAY"  # the last login was too short a time ago (RFC 2449 §8.1.1)
    SYS_TEMP = "SYS/TEMP"  # the server's trouble, not the user's, and it will pass (RFC 3206 §4)
    SYS_PERM = "SYS/PERM"  # the same, and somebody has to do something about it (RFC 3206 §4)
    AUTH = "AUTH"  # the credentials are at fault (RFC 3206 §5)


_TRANSIENT = (ResponseCode.IN_USE, ResponseCode.LOGIN_DELAY, ResponseCode.SYS_TEMP)
_STATUSES = {status.value.encode(): status for status in Status}


@dataclass(frozen=True, slots=True)
class Response:
    """One response line.

    Args:
        status: the status indicator.
        text: what is for people, or the fields of a one-line answer; base64 after a challenge.
        code: a response code in capitals and without brackets, empty if there is none.

    Raises:
        InputError: `text` holds control characters, or `code` is none.

    RFC 1939 §3, RFC 2449 §8
    """

    status: Status
    text: str = ""
    code: str = ""

    def __post_init__(self) -> None:
        if _CONTROL.search(self.text):
            raise InputError(
                f"response text holds control characters: {quoted(self.text)}", cure="remove them"
            )
        if self.code and not _CODE.fullmatch(f"[{self.code}]"):
            raise InputError(
                f"{quoted(self.code)} is not a response code", cure="write it in capitals, without brackets"
            )

    @property
    def is_positive(self) -> bool:
        """+OK."""
        return self.status is Status.OK

    @property
    def is_transient(self) -> bool:
        """-ERR with a response code that says the same may succeed later."""
        return self.status is Status.ERR and self.has_code(*_TRANSIENT)

    def has_code(self, *codes: str) -> bool:
        """Whether the response code is one of `codes`, or below one of them as `SYS/TEMP` is below `SYS`."""
        return any(f"{self.code}/".startswith(f"{code}/") for code in codes)

    def __str__(self) -> str:
        code = f"[{self.code}]" if self.code else ""
        return " ".join(part for part in (self.status.value, code, self.text) if part)

    def encode(self) -> bytes:
        """Return the octets of the line; text is cut where it exceeds 512 octets, a challenge never."""
        return _encode(self) if self.status is not Status.CHALLENGE else f"+ {self.text}\r\n".encode()


@functools.lru_cache(maxsize=256)
def _encode(response: Response) -> bytes:
    octets = encode_argument(str(response), "response text")
    if len(octets) > _LONGEST:
        octets = octets[:_LONGEST].decode(errors="ignore").encode()
    return octets + b"\r\n"


@functools.lru_cache(maxsize=256)
def parse_response(line: bytes) -> Response:
    """Parse a response line with its line ending (a bare LF is tolerated, and so is lower case).

    Raises:
        RemoteProtocolError: it is not one.

    RFC 1939 §3
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError(f"not a response: {quoted(line.rstrip())}", cure="is this a POP3 server?")
    status = _STATUSES[match[1].upper()]
    text = (match[2] or b"").decode("utf-8", "backslashreplace")
    if _CONTROL.search(text):
        text = printable(text, len(text))
    if text[:1] == "[" and (code := _CODE.match(text)):
        return Response(status, text[code.end() :], code[1].upper())
    return Response(status, text)

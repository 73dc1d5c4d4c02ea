"""SMTP replies (RFC 5321 §4.2) with enhanced status codes (RFC 2034, RFC 3463)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from ..errors import InputError, RemoteProtocolError, printable, quoted
from ..wire import encode_argument

__all__ = ["Reply", "parse_line", "parse_reply", "transcribe"]

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\r\n]*))?\r?\n?")
_PLAIN_LINE = re.compile(rb"(([245])[0-9]{2}) (\2\.[0-9]{1,3}\.[0-9]{1,3})(?: +|(?=\r))([ -~]*)\r\n?")
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_TOO_MUCH = re.compile(r"\b(connections|rate|throttl\w*|too (much|fast)|slow down)\b", re.IGNORECASE)
_OF_ONE = re.compile(r"errors|commands|gr[ae]y-?list", re.IGNORECASE)
_TEXT_WIDTH = 480  # octets; leaves room for the codes in a line of 512 (RFC 5321 §4.5.3.1.5)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, of one or more lines.

    Args:
        code: 200 to 599.
        text: what is for people; lines are separated by LF.
        enhanced_status_code: such as `5.1.1`; its class is the first digit of `code`.

    Raises:
        InputError: a field is out of its range, or `text` holds control characters.

    RFC 5321 §4.2
    """

    code: int
    text: str = ""
    enhanced_status_code: str | None = None

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise InputError(f"a reply code lies between 200 and 599, not {self.code}")
        if _CONTROL.search(self.text):
            raise InputError(
                f"reply text holds control characters: {quoted(self.text)}",
                cure="separate its lines by LF, and remove the others",
            )
        enhanced = self.enhanced_status_code
        if enhanced is not None and not (_ENHANCED.fullmatch(enhanced) and enhanced[0] == str(self.code)[0]):
            raise InputError(
                f"{quoted(enhanced)} is not an enhanced status code for a {self.code} reply",
                cure="write class.subject.detail, its class the first digit of the code",
            )

    @property
    def lines(self) -> list[str]:
        """The text, line by line; at least one."""
        return self.text.split("\n")

    @property
    def is_positive(self) -> bool:
        """2yz: done."""
        return self.code < 300

    @property
    def is_intermediate(self) -> bool:
        """3yz: go on."""
        return 300 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        """4yz: the same may succeed later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: the same will fail again."""
        return self.code >= 500

    @property
    def is_throttling(self) -> bool:
        """Whether it says that the client sends too much at once: 4.7.x (RFC 3463 §3.8), 454, or words to that effect.

        Not what is said of one session, one message or one mailbox: too many errors, greylisting.
        """
        if not self.is_transient or _OF_ONE.search(self.text):
            return False
        subject = (self.enhanced_status_code or "")[:4]
        if subject == "4.7." or self.code == 454:
            return True
        return subject in ("", "4.3.") and _TOO_MUCH.search(self.text) is not None

    def __str__(self) -> str:
        parts = [str(self.code), self.enhanced_status_code, printable(self.text.replace("\n", " / "), 1000)]
        return " ".join(part for part in parts if part)

    def encode(self) -> bytes:
        """Return the octets of the reply; long lines are broken."""
        return _encode(self)


@functools.lru_cache(maxsize=512)
def _encode(reply: Reply) -> bytes:
    # A challenge is one line, however long (RFC 4954 §4).
    lines = reply.lines if reply.code == 334 else [part for line in reply.lines for part in _broken(line)]
    enhanced = f"{reply.enhanced_status_code} " if reply.enhanced_status_code else ""
    octets = [encode_argument(enhanced + line.replace("\t", " "), "reply text") for line in lines]
    code = b"%d" % reply.code
    head = b"".join(code + b"-" + line + b"\r\n" for line in octets[:-1])
    return head + code + b" " + octets[-1] + b"\r\n"


def _broken(line: str) -> list[str]:
    width = _TEXT_WIDTH if line.isascii() else _TEXT_WIDTH // 4
    return [line[start : start + width] for start in range(0, len(line), width)] or [""]


def transcribe(reply: Reply) -> list[str]:
    """The lines of a reply for a trace; what challenges hold is replaced."""
    if reply.code == 334:
        return ["334 ****"]
    return [printable(line, len(line)) for line in reply.encode().decode()[:-2].split("\r\n")]


@functools.lru_cache(maxsize=512)
def parse_line(line: bytes) -> Reply | None:
    """Parse a line that may be a reply; None if more lines follow, see `parse_reply`."""
    plain = _PLAIN_LINE.fullmatch(line)
    if plain is not None:
        return _trusted(int(plain[1]), plain[4].decode("ascii"), plain[3].decode("ascii"))
    return None if line[3:4] == b"-" else parse_reply(line)


def parse_reply(*lines: bytes) -> Reply:
    """Parse the lines of one reply, with or without their line endings (a bare LF is tolerated).

    Raises:
        RemoteProtocolError: they are not a reply, or their codes differ.

    RFC 5321 §4.2.1
    """
    code = lines[0][:3]
    texts = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise RemoteProtocolError(f"not a reply: {quoted(line.rstrip())}", cure="is this an SMTP server?")
        if match[1] != code:
            raise RemoteProtocolError(f"reply codes differ within one reply: {quoted(line)}")
        texts.append(_decode(match[3] or b""))
    enhanced = _ENHANCED.match(texts[0])
    if enhanced is None or enhanced[0][0] != chr(code[0]):
        return Reply(int(code), "\n".join(texts))
    return Reply(int(code), "\n".join([_without(enhanced[0], text) for text in texts]), enhanced[0])


def _trusted(code: int, text: str, enhanced_status_code: str) -> Reply:
    """A reply whose fields have been checked: what most answers are, made in a third of the time."""
    reply = object.__new__(Reply)
    object.__setattr__(reply, "code", code)
    object.__setattr__(reply, "text", text)
    object.__setattr__(reply, "enhanced_status_code", enhanced_status_code)
    return reply


def _without(enhanced: str, text: str) -> str:
    """The text behind the enhanced status code, if that is the one it begins with."""
    found = _ENHANCED.match(text)
    return text[len(enhanced) :].lstrip(" ") if found and found[0] == enhanced else text


def _decode(octets: bytes) -> str:
    text = octets.decode("utf-8", "backslashreplace")
    return printable(text, len(text)) if _CONTROL.search(text) else text

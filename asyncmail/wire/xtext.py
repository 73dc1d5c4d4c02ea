"""xtext: parameter values with octets that a command line cannot carry (RFC 3461 §4)."""

from __future__ import annotations

import re

from ..errors import LocalProtocolError, quoted

__all__ = ["decode_xtext", "encode_xtext"]

_ENCODE = re.compile(rb"[^!-*,-<>-~]")
_DECODE = re.compile(rb"\+([0-9A-F]{2})")
_VALID = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")


def encode_xtext(value: str) -> str:
    """Return `value`, as UTF-8, in xtext.

    Raises:
        LocalProtocolError: it holds a lone surrogate.
    """
    try:
        octets = value.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(
            f"{quoted(value)} cannot be encoded", cure="decode the octets before you pass them on"
        ) from None
    return _ENCODE.sub(lambda match: b"+%02X" % match[0][0], octets).decode("ascii")


def decode_xtext(text: str) -> str:
    """Return the value of `text`.

    Raises:
        ValueError: it is not xtext of UTF-8.
    """
    octets = text.encode()
    if not _VALID.fullmatch(octets):
        raise ValueError(f"not xtext: {text!r}")
    return _DECODE.sub(lambda match: bytes([int(match[1], 16)]), octets).decode()

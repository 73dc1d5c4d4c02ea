"""How challenges and responses are written: base64, with marks for an empty initial response and cancel."""

from __future__ import annotations

import binascii
from typing import Final

from ..errors import AuthenticationError

__all__ = ["CANCEL", "decode_base64", "decode_initial_response", "encode_base64", "encode_initial_response"]

CANCEL: Final = b"*"
"""The line with which a client gives up an exchange (RFC 4954 §4, RFC 5034 §4)."""

_EMPTY: Final = b"="


def encode_base64(data: bytes) -> bytes:
    """Return `data` in base64, on one line without its ending (RFC 4648 §4)."""
    return binascii.b2a_base64(data, newline=False)


def decode_base64(text: bytes | str) -> bytes:
    """Return the octets that `text` stands for.

    Only what `encode_base64` writes is accepted: no white space, no missing padding, no stray bits.

    Raises:
        AuthenticationError: it is anything else, `CANCEL` included.

    RFC 4648 §3.3, §3.5; RFC 4954 §4.
    """
    octets = _octets(text)
    try:
        data = binascii.a2b_base64(octets)
        if encode_base64(data) == octets:
            return data
    except binascii.Error:
        pass
    raise AuthenticationError("a challenge or response is not base64")


def encode_initial_response(data: bytes) -> bytes:
    """Return `data` as the argument of AUTH: an empty response is a lone `=` (RFC 4954 §4, RFC 5034 §4)."""
    return encode_base64(data) or _EMPTY


def decode_initial_response(text: bytes | str) -> bytes:
    """Return the octets of an initial response that came as an argument of AUTH.

    Raises:
        AuthenticationError: it is neither base64 nor `=`.

    RFC 4954 §4, RFC 5034 §4.
    """
    return b"" if _octets(text) == _EMPTY else decode_base64(text)


def _octets(text: bytes | str) -> bytes:
    # A "?" is no base64 either, so what is not ASCII is refused with the rest.
    return text.encode("ascii", "replace") if isinstance(text, str) else text

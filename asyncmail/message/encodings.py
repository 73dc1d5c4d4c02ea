"""Content transfer encodings (RFC 2045 §6): octets with CRLF in, lines of at most 76 characters out."""

from __future__ import annotations

import binascii

__all__ = ["encode_base64", "encode_text_body"]

_LINE = 76  # characters, RFC 2045 §6.7 and §6.8
_QP_SAFE = bytes([9, 10, 13, *range(32, 61), *range(62, 127)])


def encode_base64(octets: bytes) -> bytes:
    """Return `octets` in base64, each line but the last ended by CRLF.

    RFC 2045 §6.8.
    """
    encoded = binascii.b2a_base64(octets, newline=False)
    if len(encoded) <= _LINE:
        return encoded
    return b"\r\n".join([encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)])


def encode_text_body(octets: bytes) -> tuple[str, bytes]:
    """Return text in quoted-printable or base64, whichever is shorter.

    Args:
        octets: text in its charset, with CRLF line endings.

    Returns:
        The value for Content-Transfer-Encoding, and the encoded text.

    RFC 2045 §6.7 and §6.8.
    """
    unsafe = len(octets.translate(None, _QP_SAFE))
    if unsafe * 6 > len(
        octets
    ):  # quoted-printable adds two for each of them, base64 one for each three of all
        return "base64", encode_base64(octets)
    encoded = binascii.b2a_qp(octets, quotetabs=False, istext=True)
    if b"\r\n" not in octets:
        encoded = encoded.replace(
            b"\n", b"\r\n"
        )  # soft line breaks take after the first line, if there is one
    return "quoted-printable", encoded

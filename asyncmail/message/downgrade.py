"""From 8-bit content to 7-bit content, for a server without 8BITMIME (RFC 6152 §3)."""

from __future__ import annotations

import re
from email.parser import BytesHeaderParser
from email.policy import compat32

from ..errors import ExtensionRequired, Stage
from .encodings import encode_base64, encode_text_body
from .flatten import header_end

__all__ = ["to_7bit"]

_parser = BytesHeaderParser(policy=compat32)
_TRANSFER_ENCODING = re.compile(
    rb"^Content-Transfer-Encoding:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", re.IGNORECASE | re.MULTILINE
)
_DKIM_SIGNATURE = re.compile(rb"^DKIM-Signature[ \t]*:", re.IGNORECASE | re.MULTILINE)
_MAX_DEPTH = 50


def to_7bit(octets: bytes) -> bytes:
    """Return a message as ASCII: each part that is not is encoded anew, all else stays octet for octet.

    Args:
        octets: a message as `flatten` writes it.

    Raises:
        ExtensionRequired: a signature (multipart/signed, DKIM) would no longer be valid; the header itself is
            not ASCII; or the message is not built as MIME says.

    RFC 2045 §6, RFC 6152 §3.
    """
    if octets.isascii():
        return octets
    if _DKIM_SIGNATURE.search(octets, 0, header_end(octets)):
        raise _refusal("encoding it anew would make its DKIM signature invalid")
    return _downgrade(octets, 0)


def _downgrade(entity: bytes, depth: int) -> bytes:
    end = header_end(entity)
    header, body = entity[:end], entity[end:]
    if not header.isascii():
        raise ExtensionRequired(
            "SMTPUTF8",
            "a header field is not ASCII, and the server does not offer SMTPUTF8",
            stage=Stage.CONTENT,
            cure="write it with encoded words (RFC 2047)",
        )
    if depth > _MAX_DEPTH:
        raise _refusal("its parts are nested too deep")
    fields = _parser.parsebytes(header)
    maintype = fields.get_content_maintype()
    if maintype == "multipart":
        if fields.get_content_subtype() == "signed":
            raise _refusal("encoding it anew would make the signature of its multipart/signed invalid")
        return _without_8bit(header) + _downgrade_parts(body, fields.get_boundary(), depth)
    if fields.get_content_type() in ("message/rfc822", "message/global"):
        return _without_8bit(header) + body[:2] + _downgrade(body[2:], depth + 1)
    declared = str(fields.get("Content-Transfer-Encoding", "8bit")).strip().lower()
    if declared not in ("7bit", "8bit", "binary"):
        raise _refusal(f"a part says that it is {declared} and is not")
    if maintype == "text":
        encoding, encoded = encode_text_body(body[2:])
    else:
        encoding, encoded = "base64", encode_base64(body[2:])
    return b"%bContent-Transfer-Encoding: %b\r\n\r\n%b" % (
        _TRANSFER_ENCODING.sub(b"", header),
        encoding.encode("ascii"),
        encoded,
    )


def _downgrade_parts(body: bytes, boundary: str | None, depth: int) -> bytes:
    if not boundary:
        raise _refusal("it has a multipart without a boundary")
    delimiter = re.compile(
        rb"(\r\n--%b(?:--)?[ \t]*(?=\r\n|\Z))" % re.escape(boundary.encode("ascii", "replace"))
    )
    # Odd items are delimiters; the first and the last are preamble and epilogue, which nobody is shown.
    pieces = delimiter.split(body)
    if len(pieces) < 3:
        raise _refusal("it has a multipart without parts")
    closed = next(
        (index for index in range(1, len(pieces), 2) if pieces[index].rstrip().endswith(b"--")), len(pieces)
    )
    for index in range(0, len(pieces), 2):
        if index == 0 or index > closed:
            pieces[index] = pieces[index].decode("ascii", "ignore").encode("ascii")
        elif not pieces[index].isascii():
            pieces[index] = b"\r\n" + _downgrade(pieces[index][2:], depth + 1)
    return b"".join(pieces)


def _without_8bit(header: bytes) -> bytes:
    """The header of a composite part, which then no longer holds 8-bit parts."""
    return _TRANSFER_ENCODING.sub(b"Content-Transfer-Encoding: 7bit\r\n", header)


def _refusal(problem: str) -> ExtensionRequired:
    return ExtensionRequired(
        "8BITMIME",
        f"the message is not ASCII, the server does not offer 8BITMIME, and {problem}",
        stage=Stage.CONTENT,
        cure="encode the parts before the message is signed, or use another server",
    )

"""Encoded words: text beyond ASCII in the phrases and comments of a header (RFC 2047)."""

from __future__ import annotations

import binascii
import codecs
import itertools
import operator
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["decode_words", "encode_words"]

_MAX_WORD = 75  # characters, RFC 2047 §2
_Q_ROOM = _MAX_WORD - len("=?utf-8?q??=")
_B_ROOM = _Q_ROOM // 4 * 3

# What Q leaves as it is in a phrase, RFC 2047 §5 (3).
_Q_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
_Q_TABLE = [chr(octet) if octet in _Q_SAFE else f"={octet:02X}" for octet in range(256)]
_Q_TABLE[0x20] = "_"

# The language after * is RFC 2231 §5; nothing shows it.
_WORD = re.compile(r"=\?([!-)+->@-~]++)(?:\*[!->@-~]*+)?\?([bBqQ])\?([!->@-~]*+)\?=")
_Q_OCTET = re.compile(rb"=([0-9A-Fa-f]{2})")

# Codecs of Python that are no charset of mail; some take quadratic time.
_NO_CHARSET = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})


def encode_words(text: str) -> str:
    """Return `text` as encoded words of UTF-8 with a space between each two, fit for a phrase.

    RFC 2047 §4 and §5 (3).
    """
    columns = [sum(len(_Q_TABLE[octet]) for octet in character.encode()) for character in text]
    octets = [len(character.encode()) for character in text]
    use_q = sum(columns) <= 2 * sum(octets)  # longer than base64 by then, but people can read it
    costs, room = (columns, _Q_ROOM) if use_q else (octets, _B_ROOM)
    words: list[str] = []
    start = used = 0
    for index, cost in enumerate(costs):
        if used + cost > room:  # no character is split between two words, RFC 2047 §5
            words.append(_encode_word(text[start:index], use_q))
            start, used = index, 0
        used += cost
    words.append(_encode_word(text[start:], use_q))
    return " ".join(words)


def decode_words(words: Iterable[tuple[str, bool]]) -> str:
    """Return words as text with a space between each two, encoded words decoded.

    Space between encoded words counts for nothing, and a character may be split between two of one charset. An
    encoded word of unknown charset or broken base64 stays as it is; octets that the charset does not have become
    U+FFFD.

    Args:
        words: each with whether it stood between double quotes, where nothing is encoded.

    RFC 2047 §6.
    """
    pieces: list[str] = []
    last_charset = ""
    opened = (("", word.encode()) if quoted else _open_word(word) for word, quoted in words)
    for charset, group in itertools.groupby(opened, key=operator.itemgetter(0)):
        if pieces and not (charset and last_charset):
            pieces.append(" ")
        separator = b"" if charset else b" "
        pieces.append(separator.join([octets for _, octets in group]).decode(charset or "utf-8", "replace"))
        last_charset = charset
    return "".join(pieces)


def _encode_word(text: str, use_q: bool) -> str:
    octets = text.encode()
    if use_q:
        return f"=?utf-8?q?{''.join([_Q_TABLE[octet] for octet in octets])}?="
    return f"=?utf-8?b?{binascii.b2a_base64(octets, newline=False).decode('ascii')}?="


def _open_word(word: str) -> tuple[str, bytes]:
    """The charset and octets of an encoded word; of any other word "" and UTF-8."""
    literal = "", word.encode()
    encoded = _WORD.fullmatch(word)
    if encoded is None:
        return literal
    charset, encoding, content = encoded.groups()
    octets: bytes = content.encode("ascii")
    try:
        charset = codecs.lookup(charset).name
        b" ".decode(charset, "replace")  # fails for codecs that are not from octets to text, such as hex
        if encoding in "bB":
            octets = binascii.a2b_base64(octets + b"==")  # padding is often missing, and a surplus is ignored
        else:
            octets = _Q_OCTET.sub(lambda match: bytes([int(match[1], 16)]), octets.replace(b"_", b" "))
    except (LookupError, ValueError):
        return literal
    return literal if charset in _NO_CHARSET else (charset, octets)

"""Header fields as octets: folded at white space alone, encoded words only where ASCII does not do.

The standard library's folding turns any long word into encoded words, URLs and message-ids among them.
Nothing here can end a header line early: what is not printable leaves as an encoded word or not at all.
"""

from __future__ import annotations

import re

from ..address.encoded_words import encode_words
from ..address.grammar import ATEXT, UTF8_NON_ASCII
from ..errors import MessageError, printable, quoted

__all__ = ["check_field", "encode_mailbox", "encode_phrase", "encode_text", "fold", "unfold"]

_LINE = 76  # characters: 78 at most (RFC 5322 §2.1.1), 76 where there are encoded words (RFC 2047 §2)
_MAX_LINE = 998  # octets, the same section

_NEWLINES = dict.fromkeys(map(ord, "\r\n"))
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Words that must not stand as they are. An encoded word that is meant literally has to be encoded itself.
_NOT_ASCII_WORD = re.compile(r"[^!-~]|=\?")
_NOT_UTF8_WORD = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]|=\?")
_PLAIN = re.compile(r"[!-<>-~]++(?: [!-<>-~]++)*+")

_ATOMS = re.compile(rf"[{ATEXT}]++(?: [{ATEXT}]++)*+")
_QUOTABLE = re.compile(r"[ -~]+")
_UTF8_ATOMS = re.compile(rf"[{ATEXT}{UTF8_NON_ASCII}]++(?: [{ATEXT}{UTF8_NON_ASCII}]++)*+")
_UTF8_QUOTABLE = re.compile(rf"[ -~{UTF8_NON_ASCII}]+")
_TO_QUOTE = re.compile(r'(["\\])')


def check_field(name: str, value: str) -> None:
    """Refuse what is not a header field of one logical line.

    Args:
        name: the field name.
        value: its value, unfolded.

    Raises:
        MessageError: the name has characters that no field name has, or the value holds control characters.

    RFC 5322 §2.2.
    """
    if not _FIELD_NAME.fullmatch(name):
        raise MessageError(
            f"{quoted(name)} is not a header field name", cure="use letters, digits and hyphens"
        )
    if _CONTROL.search(value):
        raise MessageError(
            f"the header field {name} holds a line break or another control character",
            cure="remove control characters from its value",
        )


def encode_text(name: str, text: str, *, utf8: bool = False) -> str:
    """Return an unstructured header field, such as Subject, with its final CRLF.

    Args:
        text: any text; control characters are encoded too.
        utf8: whether to leave UTF-8 as it is (RFC 6532), which needs SMTPUTF8.

    RFC 2047 §5 (1).
    """
    if not text or (len(text) < _MAX_LINE // 2 and _PLAIN.fullmatch(text)):
        return fold(f"{name}: {text}")
    pattern = _NOT_UTF8_WORD if utf8 else _NOT_ASCII_WORD
    words = text.split(" ")
    # No line has more than 998 octets, so a longer word has to be encoded whatever it consists of.
    bad = [
        index
        for index, word in enumerate(words)
        if pattern.search(word) or len(word) > _MAX_LINE // (4 if utf8 else 1) - len(name) - 2
    ]
    # The parser drops white space at both ends.
    if not words[0]:
        bad.insert(0, 0)
    if not words[-1]:
        bad.append(len(words) - 1)
    if bad:
        # White space between encoded words does not count, so all from the first to the last becomes one run.
        first, last = bad[0], bad[-1]
        run = " ".join(words[first : last + 1])
        encoded = encode_words(run)
        if first == 0 and len(name) + 2 + len(encoded.partition(" ")[0]) > _LINE:
            # The first line is not broken before its first word, so that has to be short enough: four octets to
            # a character, four characters of base64 to three octets.
            head = (_LINE - len(name) - len(": =?utf-8?b??=")) * 3 // 16
            encoded = f"{encode_words(run[:head])} {encode_words(run[head:])}"
        words[first : last + 1] = [encoded]
    return fold(f"{name}: {' '.join(words)}")


def encode_phrase(phrase: str, *, utf8: bool = False) -> str:
    """Return a display name for a header field: as it is, as a quoted string, or as encoded words.

    RFC 5322 §3.2.5, RFC 2047 §5 (3).
    """
    if "=?" not in phrase:
        if (_UTF8_ATOMS if utf8 else _ATOMS).fullmatch(phrase):
            return phrase
        if (_UTF8_QUOTABLE if utf8 else _QUOTABLE).fullmatch(phrase):
            quoted = _TO_QUOTE.sub(r"\\\1", phrase)
            return f'"{quoted}"'
    return encode_words(phrase)


def encode_mailbox(display_name: str, addr_spec: str, *, utf8: bool = False) -> str:
    """Return `Display Name <addr-spec>` for a header field, or the addr-spec alone.

    RFC 5322 §3.4.
    """
    return f"{encode_phrase(display_name, utf8=utf8)} <{addr_spec}>" if display_name else addr_spec


def unfold(value: str) -> str:
    """Return a field value, as the standard library's parser stores it, as one line of text; UTF-8 is decoded."""
    return value.translate(_NEWLINES).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def fold(line: str) -> str:
    """Return `Name: value` folded to lines of 76 characters where single spaces allow it, with a final CRLF.

    Unfolding gives the same text again.

    Raises:
        MessageError: it cannot be folded to lines of 998 octets.

    RFC 5322 §2.1.1 and §2.2.3.
    """
    if len(line) <= _LINE:
        return line + "\r\n"
    name, _, value = line.partition(": ")
    words = value.split(" ")
    lines: list[str] = []
    current = f"{name}:"
    # A line of nothing but white space is obsolete syntax, and white space at the end of one gets lost. A first
    # line of nothing but the name is legal, and read by some with a space before the value.
    may_break = False
    for word in words:
        if may_break and word and len(current) + 1 + len(word) > _LINE:
            lines.append(current)
            current = f" {word}"
        else:
            current = f"{current} {word}"
        may_break = bool(word)
    lines.append(current)
    if max(map(len, lines)) > _MAX_LINE // 4 and max(len(text.encode()) for text in lines) > _MAX_LINE:
        raise MessageError(
            f"the header field {printable(name)} cannot be folded to lines of {_MAX_LINE} octets",
            cure="shorten its longest word",
        )
    return "\r\n".join(lines) + "\r\n"

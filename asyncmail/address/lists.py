"""Addresses as header fields have them (RFC 5322 §3.4, with the obsolete forms of §4.4).

One pass from left to right, without backtracking and without recursion: whether words are a display name, a local
part or the name of a group is decided by the character after them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import AddressSyntaxError
from .domains import encode_domain
from .encoded_words import decode_words
from .grammar import ATEXT, DOT_STRING, UNPRINTABLE, UTF8_NON_ASCII, check_lengths, write_local_part

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ParsedMailbox", "parse_mailbox", "parse_mailboxes"]

_FOLD = r"\r?\n(?=[ \t])"
_SPACE = re.compile(rf"(?:[ \t]|{_FOLD})++")
_FOLDED = re.compile(r"\r?\n")
_ATOM = re.compile(rf"[{ATEXT}.{UTF8_NON_ASCII}]++")  # dots too: obs-phrase, and a dot-atom is one word
_QUOTED_STRING = re.compile(rf'"((?:[\t !#-\[\]-~{UTF8_NON_ASCII}]|\\[\t -~{UTF8_NON_ASCII}]|{_FOLD})*+)"')
_COMMENT_TEXT = re.compile(rf"(?:[\t !-'*-\[\]-~{UTF8_NON_ASCII}]|\\[\t -~{UTF8_NON_ASCII}]|{_FOLD})++")
_QUOTED_PAIR = re.compile(r"\\(.)")
_DOMAIN = re.compile(rf"[A-Za-z0-9_.\-{UTF8_NON_ASCII}]++")
_LITERAL = re.compile(r"\[[!-Z^-~]*+\]?")
_ROUTE = re.compile(r"[@,A-Za-z0-9_.\- \t]*+:")
_SPACED_DOT = re.compile(r" ?\. ?")

_QUOTE_NAME = 'put a display name into double quotes, as in "A. Name" <local-part@domain>'


class ParsedMailbox(NamedTuple):
    """The parts of one address: values, without quotes, escapes and encoded words."""

    display_name: str
    local_part: str
    domain: str


class _Word(NamedTuple):
    text: str
    position: int
    quoted: bool


def parse_mailbox(text: str) -> ParsedMailbox:
    """Parse exactly one address, not in a group.

    Raises:
        AddressSyntaxError: it is something else.

    RFC 5322 §3.4.
    """
    parser = _Parser(text)
    mailbox = parser.mailbox(parser.words())
    if parser.next:
        raise parser.error("more text after the address", cure="parse several addresses as a list")
    return mailbox


def parse_mailboxes(text: str) -> Iterator[ParsedMailbox]:
    """Parse any number of addresses, separated by commas or semicolons, those in groups too.

    Raises:
        AddressSyntaxError: it is something else.

    RFC 5322 §3.4.
    """
    parser = _Parser(text)
    group: int | None = None  # where the open group began
    while True:
        words = parser.words()
        if words and parser.next == ":":
            if group is not None:
                raise parser.error("a group within a group", cure='end the first with ";"')
            group = words[0].position
        elif words or parser.next not in (",", ";", ""):
            yield parser.mailbox(words)
            if parser.next not in (",", ";", ""):
                raise parser.error("no comma after the address", cure=_QUOTE_NAME)
        if not parser.next:
            break
        if parser.next == ";":
            group = None
        parser.position += 1
        parser.comments = []
    if group is not None:
        raise parser.error("a group that does not end", position=group, cure='end it with ";"')


class _Parser:
    __slots__ = ("comments", "position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.comments: list[str] = []  # of the current address

    @property
    def next(self) -> str:
        """The character at the position, empty at the end."""
        return self.text[self.position : self.position + 1]

    def error(self, problem: str, *, cure: str, position: int | None = None) -> AddressSyntaxError:
        """An error at the current position, or at another."""
        return AddressSyntaxError(
            self.text, problem, position=self.position if position is None else position, cure=cure
        )

    def words(self) -> list[_Word]:
        """Take atoms and quoted strings, and the space and comments around them."""
        words: list[_Word] = []
        while True:
            self.skip()
            if atom := _ATOM.match(self.text, self.position):
                words.append(_Word(atom[0], self.position, False))
                self.position = atom.end()
            elif self.next == '"':
                string = _QUOTED_STRING.match(self.text, self.position)
                if string is None:
                    raise self.error(
                        "a quoted string that does not end or is not printable", cure='end it with "'
                    )
                words.append(_Word(_unquote(string[1]), self.position, True))
                self.position = string.end()
            else:
                return words

    def mailbox(self, words: list[_Word]) -> ParsedMailbox:
        """Take the rest of an address whose first words were taken already."""
        if self.next == "<":
            self.position += 1
            self.skip()
            if self.next in ("@", ","):
                route = _ROUTE.match(self.text, self.position)
                if route is None:
                    raise self.error("a source route that does not end", cure="leave it out")
                self.position = route.end()
            local_part, domain = self.addr_spec(self.words())
            if self.next != ">":
                raise self.error("no > after the address", cure="write <local-part@domain>")
            self.position += 1
            self.skip()
        else:
            local_part, domain = self.addr_spec(words)
            words = []
        if words:
            display_name = decode_words((word.text, word.quoted) for word in words)
        else:
            display_name = decode_words((word, False) for word in " ".join(self.comments).split())
        return ParsedMailbox(UNPRINTABLE.sub(" ", display_name), local_part, domain)

    def addr_spec(self, words: list[_Word]) -> tuple[str, str]:
        """Take @ and a domain after the words of a local part."""
        start = words[0].position if words else self.position
        if self.next != "@":
            raise self.error("no @ after the local part", cure=f"write local-part@domain; {_QUOTE_NAME}")
        shape = _SPACED_DOT.sub(".", " ".join("q" if word.quoted else word.text for word in words))
        local_part = "".join(word.text for word in words)
        if not local_part or not DOT_STRING.fullmatch(shape) or UNPRINTABLE.search(local_part):
            raise self.error(
                "the local part is empty, not printable, or several words without a single dot between them",
                position=start,
                cure=f"put an unusual local part into double quotes; {_QUOTE_NAME}",
            )
        self.position += 1
        domain, ascii_domain = self.domain()
        check_lengths(write_local_part(local_part), domain, ascii_domain, self.text)
        return local_part, domain

    def domain(self) -> tuple[str, str]:
        """Take a domain or an address literal, and the space and comments around it; return it, and in ASCII."""
        self.skip()
        start = self.position
        if literal := _LITERAL.match(self.text, start):
            domain = literal[0]
            self.position = literal.end()
            self.skip()
        else:
            pieces: list[str] = []
            while piece := _DOMAIN.match(self.text, self.position):
                pieces.append(piece[0])
                self.position = piece.end()
                self.skip()
                if not piece[0].endswith(".") and self.next != ".":
                    break
            domain = "".join(pieces)
        return domain, encode_domain(domain, self.text, start)

    def skip(self) -> None:
        """Take space and comments."""
        while True:
            if space := _SPACE.match(self.text, self.position):
                self.position = space.end()
            elif self.next == "(":
                self.comments.append(self.comment())
            else:
                return

    def comment(self) -> str:
        """Take a comment, which may hold others, and return what is in it."""
        start = self.position
        depth = 0
        while True:
            if self.next == "(":
                depth += 1
                self.position += 1
            elif self.next == ")":
                depth -= 1
                self.position += 1
                if not depth:
                    return _unquote(self.text[start + 1 : self.position - 1])
            elif run := _COMMENT_TEXT.match(self.text, self.position):
                self.position = run.end()
            else:
                raise self.error(
                    "a comment that does not end or is not printable", position=start, cure='end it with ")"'
                )


def _unquote(text: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", _FOLDED.sub("", text))

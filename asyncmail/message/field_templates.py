"""Header fields with placeholders: what a value means depends on where it stands."""

from __future__ import annotations

import os
import re
from email.policy import default
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..address import check_forward_path
from ..errors import AddressSyntaxError, TemplateError, quoted
from .envelope import Mailbox, mailboxes, parse_mailboxes
from .headers import check_field, encode_mailbox, encode_text, fold
from .placeholders import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .placeholders import Language

__all__ = [
    "ADDRESS_FIELDS",
    "AddressField",
    "TextField",
    "UriField",
    "culprit",
    "encode_addresses",
    "field_template",
]

ADDRESS_FIELDS = frozenset({"from", "sender", "reply-to", "to", "cc", "bcc"})
_URI_FIELDS = frozenset(
    {"list-unsubscribe", "list-subscribe", "list-help", "list-post", "list-owner", "list-archive"}
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_URI_RESERVED = ":/?#[]@!$&'()*+,;=%~"
_URI_SCHEME = re.compile(r"(?:https?|mailto):", re.IGNORECASE)


def field_template(name: str, source: str, language: Language) -> TextField | UriField | AddressField:
    """Compile one header field.

    Args:
        source: its value, unfolded; encoded words in it are decoded.

    Raises:
        MessageError: it is not a header field.
        TemplateError: a placeholder is not one.
    """
    source = source.replace("\t", " ")
    check_field(name, source)
    if name.lower() in ADDRESS_FIELDS:
        return AddressField(name, source, language)
    source = str(default.header_factory("Subject", source))
    if name.lower() in _URI_FIELDS:
        return UriField(name, source, language)
    return TextField(name, source, language)


class TextField:
    """A field such as Subject: values are text, encoded where that has to be."""

    __slots__ = ("_text", "name", "names")

    def __init__(self, name: str, source: str, language: Language) -> None:
        self.name: str = name
        self._text = language.compile(source)
        self.names: tuple[str, ...] = self._text.names

    def __call__(self, fields: Mapping[str, object]) -> bytes:
        text = self._text(fields)
        _refuse_control(self.name, text, self.names, fields)
        return encode_text(self.name, text).encode("ascii")


class UriField:
    """A field such as List-Unsubscribe: a value is a whole URI, or percent-encoded as a component of one."""

    __slots__ = ("_parts", "name", "names")

    def __init__(self, name: str, source: str, language: Language) -> None:
        self.name: str = name
        pieces = language.split(source)
        # Literal text, or a placeholder and whether it is a URI by itself.
        self._parts: list[str | tuple[Text, bool]] = []
        for index, piece in enumerate(pieces):
            if index % 2:
                is_whole = pieces[index - 1].endswith("<") and pieces[index + 1].startswith(">")
                self._parts.append((language.compile(piece), is_whole))
            elif piece.isascii():
                self._parts.append(piece)
            else:
                raise TemplateError(
                    f"the header field {name} holds {quoted(piece)}, which is not ASCII",
                    cure="percent-encode what a URI cannot hold",
                )
        self.names: tuple[str, ...] = _names([part[0] for part in self._parts if not isinstance(part, str)])

    def __call__(self, fields: Mapping[str, object]) -> bytes:
        value = "".join(
            [
                part if isinstance(part, str) else self._encode(part[0], part[1], fields)
                for part in self._parts
            ]
        )
        return fold(f"{self.name}: {value}").encode("ascii")

    def _encode(self, text: Text, is_whole: bool, fields: Mapping[str, object]) -> str:
        value = text(fields)
        _refuse_control(self.name, value, text.names, fields)
        if not is_whole:
            return quote(value, safe="")
        if not _URI_SCHEME.match(value):
            raise TemplateError(
                f"{quoted(value)} is not a URI for {self.name}",
                field=next(iter(text.names), ""),
                cure="begin it with https: or mailto:",
            )
        return quote(value, safe=_URI_RESERVED)


class AddressField:
    """A field such as To: values are display names, addresses or parts of them, and cannot add an address."""

    __slots__ = ("_entries", "_fixed", "name", "names")

    def __init__(self, name: str, source: str, language: Language) -> None:
        self.name: str = name
        pieces = language.split(source)
        # To find out the structure, a word that is nowhere else stands for each placeholder, and an address of that
        # word where nothing but an address can stand.
        word = f"zq{os.urandom(4).hex()}"
        text = "".join([f"{word}x{index}x" if index % 2 else piece for index, piece in enumerate(pieces)])
        text = re.sub(rf"((?:^|[,;:<]) *{word}x\d+x)(?= *(?:$|[,;>]))", rf"\1@{word}.invalid", text)
        marker = re.compile(rf"{word}x(\d+)x(?:@{word}\.invalid)?")
        try:
            parsed = parse_mailboxes(text)
        except AddressSyntaxError as error:
            raise TemplateError(
                f"the header field {name} is not a list of addresses: {error.problem}", cure=error.cure
            ) from None

        def compile_part(part: str) -> Text:
            parts: list[str | Text] = []
            for index, piece in enumerate(marker.split(part)):
                if index % 2:
                    parts.append(language.compile(pieces[int(piece)]))
                else:  # what had been an encoded word may hold placeholders too
                    inner = language.split(piece)
                    parts += [language.compile(each) if odd % 2 else each for odd, each in enumerate(inner)]
            parts = [each for each in parts if each != ""]
            return parts[0] if len(parts) == 1 and isinstance(parts[0], Text) else _Joined(parts)

        self._entries = [
            (
                compile_part(mailbox.display_name),
                compile_part(mailbox.addr_spec),
                not mailbox.display_name and marker.fullmatch(mailbox.addr_spec) is not None,
            )
            for mailbox in parsed
        ]
        self.names: tuple[str, ...] = _names([part for entry in self._entries for part in entry[:2]])
        self._fixed: tuple[list[Mailbox], bytes] | None = None
        if not self.names:
            self._fixed = self.render({})

    def __call__(self, fields: Mapping[str, object]) -> bytes:
        return self.render(fields)[1]

    def render(self, fields: Mapping[str, object]) -> tuple[list[Mailbox], bytes]:
        """Return the addresses, and the field, which is empty if there are none."""
        if self._fixed is not None:
            return self._fixed
        named: list[Mailbox] = []
        for display_name, spec, is_whole in self._entries:
            value = spec(fields).strip(" ")
            _refuse_control(self.name, value, spec.names, fields)
            if not is_whole:
                name = display_name(fields).strip(" ")
                _refuse_control(self.name, name, display_name.names, fields)
                named.append(Mailbox(name, value))
            elif value:  # an empty one is nobody, as in a column that only some rows fill in
                named += mailboxes([value])
        return encode_addresses(self.name, named)


def encode_addresses(name: str, named: Sequence[Mailbox]) -> tuple[list[Mailbox], bytes]:
    """Check addresses, and write their field.

    Returns:
        The addresses as they go into the envelope, and the field, which is empty if there are none.

    Raises:
        AddressSyntaxError: an address is none.
    """
    checked = [Mailbox(display_name, check_forward_path(spec, smtputf8=True)) for display_name, spec in named]
    if not checked:
        return checked, b""
    utf8 = not all(mailbox.addr_spec.isascii() for mailbox in checked)
    return checked, fold(
        f"{name}: {', '.join([encode_mailbox(*mailbox, utf8=utf8) for mailbox in checked])}"
    ).encode("utf-8")


def culprit(names: Sequence[str], fields: Mapping[str, object], pattern: re.Pattern[str] = _CONTROL) -> str:
    """The first of the fields whose value is not fit to be sent."""
    return next((name for name in names if pattern.search(str(fields.get(name, "")))), "")


class _Joined(Text):
    """Literal text and placeholders."""

    __slots__ = ("_parts", "names")

    def __init__(self, parts: list[str | Text]) -> None:
        self._parts = parts
        self.names = _names([part for part in parts if not isinstance(part, str)])

    def __call__(self, fields: Mapping[str, object]) -> str:
        return "".join([part if isinstance(part, str) else part(fields) for part in self._parts])


def _names(parts: Sequence[Text]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([name for part in parts for name in part.names]))


def _refuse_control(name: str, value: str, names: Sequence[str], fields: Mapping[str, object]) -> None:
    if _CONTROL.search(value):
        field = culprit(names, fields)
        raise TemplateError(
            f"the value of {quoted(field)} for the header field {name} holds a line break or another control"
            " character",
            field=field,
            cure="remove control characters from it",
        )
